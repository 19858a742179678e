package httptests

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"code.dny.dev/ssrf"
	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// Signatures are those of the library that the specification comes with, and each side takes the other's.
func TestSignaturesAgreeWithTheReferenceLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		secret := callback.NewSecret()
		theirs, err := reference.NewWebhook(string(secret))
		if err != nil {
			t.Fatal(err)
		}
		id, at, body := crand.Text(), time.Now().Add(time.Duration(r.IntN(200)-100)*time.Second), make([]byte, r.IntN(300))
		crand.Read(body)
		want, err := theirs.Sign(id, at, body)
		if got := callback.Sign(secret, id, at, body); got != want || err != nil {
			t.Fatalf("got %s, want %s (%v)", got, want, err)
		}
		h := http.Header{}
		h.Set(reference.HeaderWebhookID, id)
		h.Set(reference.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
		h.Set(reference.HeaderWebhookSignature, "v1,AAAA "+want)
		ours := &callback.Verifier{Secrets: []callback.Secret{callback.NewSecret(), secret}}
		if err := ours.Verify(h, body); err != nil {
			t.Errorf("ours: %v", err)
		}
		if err := theirs.Verify(body, h); err != nil {
			t.Errorf("theirs: %v", err)
		}
		body = append(body, 'x')
		if err := ours.Verify(h, body); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("ours, of another body: got %v, want ErrSignature", err)
		}
		if err := theirs.Verify(body, h); err == nil {
			t.Error("theirs, of another body: got no error")
		}
	}
}

// A receiver that uses the reference library takes every attempt, also days after the first.
func TestReceiversWithTheReferenceLibraryTakeCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := callback.NewSecret()
		theirs, err := reference.NewWebhook(string(secret))
		if err != nil {
			t.Fatal(err)
		}
		ids, attempts := make(map[string]bool), 0
		l := pipenet.Listen()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if err := theirs.Verify(body, r.Header); err != nil {
				t.Errorf("attempt %d: %v", attempts, err)
			}
			ids[r.Header.Get(reference.HeaderWebhookID)] = true
			if attempts++; attempts < 8 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}
		served := make(chan error)
		go func() { served <- srv.Serve(l) }()
		store := memstore.New(nil)
		broker, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		q := broker.Queue("callbacks")
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte(`{"state":"succeeded"}`)}); err != nil {
			t.Fatal(err)
		}
		client := l.Client()
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan error)
		go func() {
			sent <- callback.Send(ctx, q, &callback.Options{Client: client, Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) {
				return &callback.Message{URL: "http://receiver.test/", Secrets: []callback.Secret{secret, callback.NewSecret()}}, nil
			}})
		}()
		if err := q.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if attempts != 8 || len(ids) != 1 {
			t.Errorf("got %d attempts with %d ids, want 8 with one", attempts, len(ids))
		}
		cancel()
		if err := <-sent; err != nil {
			t.Error(err)
		}
		broker.Shutdown(context.Background())
		store.Close()
		client.CloseIdleConnections()
		srv.Close()
		<-served
	})
}

// A second opinion on which addresses are public: they may differ only where ours is known to be stricter, or unmaps.
func TestPublicAgreesWithAnotherList(t *testing.T) {
	guardian := ssrf.New()
	r := rand.New(rand.NewPCG(5, 6))
	var addrs []netip.Addr
	for range 100_000 {
		v4 := [4]byte{byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}
		var v6 [16]byte
		for i := range v6 {
			v6[i] = byte(r.IntN(256))
		}
		v6[0] = 0x20 | v6[0]&0x1f // in 2000::/3
		addrs = append(addrs, netip.AddrFrom4(v4), netip.AddrFrom16(v6))
		v6[0] = byte(r.IntN(256))
		addrs = append(addrs, netip.AddrFrom16(v6))
	}
	for _, p := range append(append([]netip.Prefix{ssrf.IPv6GlobalUnicast, ssrf.IPv6NAT64Prefix}, ssrf.IPv4DeniedPrefixes...), ssrf.IPv6DeniedPrefixes...) {
		first := p.Masked().Addr()
		last := first.AsSlice()
		for bit := p.Bits(); bit < first.BitLen(); bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for range 1000 { // inside
			within := first.AsSlice()
			for bit := p.Bits(); bit < first.BitLen(); bit++ {
				within[bit/8] |= byte(r.IntN(2)) << (7 - bit%8)
			}
			a, _ := netip.AddrFromSlice(within)
			addrs = append(addrs, a)
		}
		for _, a := range []netip.Addr{first, end, first.Prev(), end.Next()} {
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	azure := netip.MustParseAddr("168.63.129.16") // which only ours refuses
	for _, a := range addrs {
		network := "tcp6"
		if a.Is4() {
			network = "tcp4"
		}
		want := guardian.Safe(network, fmt.Sprint(netip.AddrPortFrom(a, 443)), nil) == nil && a != azure
		if got := outbound.Public(a); got != want && !a.Is4In6() {
			t.Errorf("%v: got public %v, want %v", a, got, want)
		}
	}
	t.Logf("%d addresses", len(addrs))
}
