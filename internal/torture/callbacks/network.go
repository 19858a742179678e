package callbacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"code.dny.dev/ssrf"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A network has every address there is lead to one server, which looks at which it was.
type network struct {
	tell func(report)
	dns  names

	server    *http.Server
	listeners sync.WaitGroup
	guardian  *ssrf.Guardian
	public    atomic.Int64 // connections to public addresses

	client *http.Client // of outbound, with the names of this network
	store  *memstore.Store
	broker *jobqueue.Broker
	sent   chan error
	stop   context.CancelFunc
}

// ports are those that the URLs name, or mean.
var ports = []string{"80", "443", "22", "8080"}

func newNetwork(tell func(report)) (*network, error) {
	var mu sync.Mutex
	w := &network{guardian: ssrf.New(), sent: make(chan error, 1), dns: names{turns: make(map[string][][]netip.Addr), asked: make(map[string]int)}}
	w.tell = func(r report) {
		mu.Lock()
		defer mu.Unlock()
		tell(r)
	}
	for _, args := range []string{"link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %s: %w\n%s", args, err, out)
		}
	}
	w.server = &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0)}
	for _, port := range ports {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return nil, err
		}
		w.listeners.Go(func() { w.server.Serve(&watched{l, w}) })
	}
	w.client = outbound.NewClient(&outbound.Options{AllowHTTP: true, Resolver: w.dns.resolver(), Timeout: 10 * time.Second})
	w.store = memstore.New(nil)
	var err error
	if w.broker, err = jobqueue.New(w.store, nil); err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() {
		w.sent <- callback.Send(ctx, w.broker.Queue("callbacks"), &callback.Options{
			Client: w.client, Delays: []time.Duration{0, 0}, Jitter: -1, PerHost: -1, Workers: 16,
			Message: func(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
				url, err := d.Payload(ctx)
				return &callback.Message{URL: string(url), Secrets: []callback.Secret{"secret"}}, err
			},
		})
	}()
	return w, nil
}

func (w *network) close() {
	w.stop()
	if err := <-w.sent; err != nil {
		w.bad("Send: %v", err)
	}
	w.broker.Shutdown(context.Background())
	w.store.Close()
	w.client.CloseIdleConnections()
	w.server.Close()
	w.listeners.Wait()
	if w.public.Load() == 0 {
		w.bad("no public address was ever connected to: nothing was tested")
	}
	w.tell(report{Figures: map[string]int64{"connections to public addresses": w.public.Load()}})
}

func (w *network) bad(format string, args ...any) { w.tell(report{Bad: fmt.Sprintf(format, args...)}) }

// A watched listener looks at the address that somebody has connected to.
type watched struct {
	net.Listener
	w *network
}

func (l *watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.w.judge(netip.MustParseAddrPort(c.LocalAddr().String()))
	}
	return c, err
}

// judge demands that an address that was connected to is public.
func (w *network) judge(at netip.AddrPort) {
	kind := "tcp6"
	a := at.Addr().Unmap()
	if a.Is4() {
		kind = "tcp4"
	}
	if err := w.guardian.Safe(kind, netip.AddrPortFrom(a, 443).String(), nil); err != nil || a == netip.MustParseAddr("168.63.129.16") {
		w.bad("a connection was made to %v: %v", at, err)
		return
	}
	w.public.Add(1)
}

// ServeHTTP answers as the path says: with a redirect to ?to, or well.
func (w *network) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/redirect":
		rw.Header().Set("Location", r.URL.Query().Get("to"))
		rw.WriteHeader(one(rand.New(rand.NewPCG(1, uint64(len(r.URL.RawQuery)))), 300, 301, 302, 303, 307, 308))
	case "/followed":
		w.bad("a redirect was followed to %s", r.Host)
	}
}

// attack tries so many URLs, unless ctx ends.
func (w *network) attack(ctx context.Context, seed uint64, n int) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				unit := int(next.Add(1) - 1)
				if unit >= n || ctx.Err() != nil {
					return
				}
				w.try(rand.New(rand.NewPCG(seed, uint64(unit))), unit)
				w.tell(report{Done: 1})
			}
		})
	}
	all.Wait()
}

// try has one hostile URL be fetched, or told of the end of a job.
func (w *network) try(rnd *rand.Rand, unit int) {
	name := fmt.Sprintf("n%d.test", unit)
	defer w.dns.forget(name)
	target := w.target(rnd, name)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if rnd.IntN(3) > 0 {
		for range 3 { // a name may lead elsewhere each time
			_, _, err := outbound.Fetch(ctx, w.client, target, 1<<10)
			w.judgeProblem(unit, target, err)
			w.client.CloseIdleConnections()
		}
		return
	}
	j, err := w.broker.Queue("callbacks").Enqueue(ctx, jobqueue.NewJob{Payload: []byte(target), Account: "eve"})
	if err == nil {
		j, err = w.broker.WaitEnd(ctx, j.ID)
	}
	if err != nil {
		w.bad("unit %d: %q has not ended: %v", unit, target, err)
		return
	}
	if f := j.Failure; f != nil {
		w.judgeText(unit, target, f.Message)
	}
}

// judgeProblem demands that what a stranger is told of an error has nothing of where a name leads.
func (w *network) judgeProblem(unit int, target string, err error) {
	if err != nil {
		w.judgeText(unit, target, outbound.Problem(err))
	}
	if errors.Is(err, context.DeadlineExceeded) && !strings.Contains(outbound.Problem(err), "in time") {
		w.bad("unit %d: %q took too long: %v", unit, target, err)
	}
}

func (w *network) judgeText(unit int, target, text string) {
	for word := range strings.FieldsSeq(text) {
		if a, err := netip.ParseAddr(strings.Trim(word, "[]:,")); err == nil && !strings.Contains(target, a.String()) {
			w.bad("unit %d: %q tells the stranger of %v: %s", unit, target, a, text)
		}
	}
}

// target returns a hostile URL. A name in it has been set.
func (w *network) target(rnd *rand.Rand, name string) string {
	evil := inside(rnd)
	switch rnd.IntN(4) {
	case 0:
		evil = wrapped(rnd, evil)
	case 1: // names
		w.dns.set(name, w.turns(rnd))
		return one(rnd, "http://", "http://", "https://") + one(rnd, name, name, strings.ToUpper(name), name+".") + one(rnd, "/", ":80/",
			"/redirect?to="+url.QueryEscape("http://"+spelled(rnd, evil)+"/followed"))
	case 2: // redirects of public servers
		w.dns.set(name, w.turns(rnd))
		to := one(rnd, "http://"+spelled(rnd, evil)+"/followed", "http://"+name+"/followed", "http://"+spelled(rnd, outside(rnd))+"/followed",
			"//"+spelled(rnd, evil)+"/followed", "/followed",
			"ftp://"+evil.String()+"/followed", "file:///etc/passwd", "gopher://"+evil.String(), "javascript:x", "http:///followed",
			"\\\\"+evil.String()+"\\followed")
		return "http://" + host(outside(rnd)) + "/redirect?to=" + url.QueryEscape(to)
	case 3:
		if rnd.IntN(2) == 0 {
			return trick(rnd, host(outside(rnd)), host(evil))
		}
	}
	return one(rnd, "http://", "http://", "https://") + spelled(rnd, evil) + one(rnd, "/", ":80/", ":443/", ":22/", ":8080/", "/latest/meta-data/")
}

// turns returns what a name leads to at its first look, the second and so on: the outside, the inside, both, or nothing.
func (w *network) turns(rnd *rand.Rand) [][]netip.Addr {
	var turns [][]netip.Addr
	for range 1 + rnd.IntN(4) {
		var turn []netip.Addr
		for range rnd.IntN(4) {
			switch rnd.IntN(4) {
			case 0:
				turn = append(turn, outside(rnd))
			case 1:
				turn = append(turn, wrapped(rnd, inside(rnd)))
			default:
				turn = append(turn, inside(rnd))
			}
		}
		turns = append(turns, turn)
	}
	if rnd.IntN(2) == 0 {
		turns = append([][]netip.Addr{{outside(rnd)}}, turns...)
	}
	return turns
}

// host writes an address as the host of a URL.
func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
