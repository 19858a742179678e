package requests

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A raw request is one in parts, each of which may be anything.
type raw struct {
	method, target, version string
	header                  []string // lines
	body                    []byte
}

func one[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

// id returns the id of a job, often of one that runs.
func (w *world) id(rnd *rand.Rand) string {
	if rnd.IntN(2) == 0 {
		return one(rnd, w.running...)
	}
	return one(rnd, w.ids...)
}

// good returns a well-formed request, which might be served.
func (w *world) good(rnd *rand.Rand) *raw {
	id, queue := w.id(rnd), strings.ReplaceAll(one(rnd, w.queues...), "/", "%2F")
	r := &raw{version: "HTTP/1.1", header: []string{"Host: test", "Authorization: Bearer " + token}}
	withToken := func(body string) {
		if rnd.IntN(2) == 0 {
			r.header = append(r.header, "Lease-Token: "+w.tokens[id])
		} else {
			body = fmt.Sprintf(`{"lease_token":%q,%s`, w.tokens[id], body[1:])
			body = strings.Replace(body, ",}", "}", 1)
		}
		r.body = []byte(body)
	}
	switch rnd.IntN(14) {
	case 0:
		r.method, r.target, r.body = "POST", "/v1/queues/"+queue+"/jobs",
			[]byte(`{"payload":{"a":[1,2]},"name":"n","tags":{"a":"b"},"priority":1,"delay_seconds":100000}`)
	case 1:
		r.method, r.target, r.body = "POST", "/v1/queues/"+queue+"/jobs?name=n&delay=100000&tag.a=b&deadline=2100-01-01T00:00:00Z", []byte("raw payload")
		r.header = append(r.header, "Content-Type: image/png", "Idempotency-Key: "+one(rnd, "k", `"k\"q"`, `"k`, `"`))
	case 2:
		r.method, r.target = one(rnd, "GET", "POST"), "/v1/queues/"+queue+"/poll?timeout="+one(rnd, "0", "1")+"&max="+one(rnd, "1", "2")+"&lease=40000"
	case 3:
		r.method, r.target = "POST", "/v1/queues/"+queue+"/poll?timeout=0"
		r.body = fmt.Appendf(nil, `{"acks":[{"id":%q,"lease_token":%q}]}`, id, w.tokens[id])
	case 4:
		r.method, r.target = one(rnd, "GET", "HEAD"), "/v1/jobs/"+id+one(rnd, "", "?wait=1")
		r.header = append(r.header, one(rnd, "Prefer: wait=1", `If-None-Match: "1"`, "Accept: */*"))
	case 5:
		r.method, r.target = one(rnd, "GET", "HEAD"), "/v1/jobs/"+id+one(rnd, "/payload", "/result")
		r.header = append(r.header, one(rnd, "Range: bytes=0-1", `If-Match: "p-`+id+`"`, "If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT", "Accept: */*"))
	case 6:
		r.method, r.target = "POST", "/v1/jobs/"+id+"/"+one(rnd, "ack", "fail", "cancel", "redrive")
		withToken(`{"code":"c","message":"m"}`)
	case 7:
		r.method, r.target = "POST", "/v1/jobs/"+id+"/"+one(rnd, "extend", "progress", "release")
		withToken(`{"lease_seconds":40000,"progress":0.5,"message":"m","delay_seconds":100000}`)
	case 8:
		r.method, r.target = "POST", "/v1/jobs/"+id+"/complete"
		withToken(one(rnd, `{"result":{"a":1}}`, `{"result_base64":"YQ==","content_type":"a/b"}`, fmt.Sprintf(`{"object_key":%q}`, one(rnd, w.keys...))))
	case 9:
		r.method, r.target, r.body = "POST", "/v1/acks", fmt.Appendf(nil, `{"acks":[{"id":%q,"lease_token":%q},{"id":"x"}]}`, id, w.tokens[id])
	case 10:
		r.method, r.target = "GET", one(rnd, "/v1/queues?limit=2", "/v1/queues/"+queue, "/v1/queues/"+queue+"/jobs?state=pending&limit=3&after="+id,
			"/v1/openapi.json")
	case 11:
		r.method, r.target, r.body = "PUT", "/v1/queues/"+queue, []byte(`{"lease_seconds":40000,"max_deliveries":30,"tags":{"a":"b"},"status":"s","backlog":1000}`)
	case 12:
		r.method, r.target, r.body = "POST", "/v1/uploads", []byte(`{"filename":"a b.txt","content_type":"text/plain","size":3,"expires_seconds":600000}`)
	case 13:
		r.method, r.target, r.body = "PUT", one(rnd, w.uploads...), []byte("content")
	}
	return r
}

// bytes writes a request, with its length where that is not to be another.
func (r *raw) bytes(rnd *rand.Rand) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", r.method, r.target, r.version)
	framed := false
	for _, line := range r.header {
		name, _, _ := strings.Cut(strings.ToLower(line), ":")
		framed = framed || name == "content-length" || name == "transfer-encoding"
		b.WriteString(line + "\r\n")
	}
	switch {
	case framed || r.body == nil:
		b.WriteString("\r\n")
		b.Write(r.body)
	case rnd.IntN(3) == 0:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		chunk := 1 + rnd.IntN(1+len(r.body))
		for rest := r.body; len(rest) > 0; {
			n := min(chunk, len(rest))
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString("0\r\n\r\n")
	default:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(r.body))
		b.Write(r.body)
	}
	return b.Bytes()
}

// odd are texts that do not belong where they are put.
var odd = []string{
	"", " ", "\x00", "\r\n", "\n", "\t", "%00", "%", "%zz", "%2e%2e%2f", "..", "/../", "//", "\\", "?", "#", ";", ":", "@", "*", "\"", "'", "<script>",
	"${jndi:x}",
	"\xff\xfe", "\xc0\xaf", "ﬀ", "\u202e", "١", "-1", "+1", "0", "00", "0x10", "1e999", "-1e999", "NaN", "Infinity", "1.5", "99999999999999999999",
	"18446744073709551616",
	"9223372036854775808", "null", "true", "[]", "{}", "bytes=0-0,2-1,-5", "bytes=-99999999999999999999", "W/\"1\", *", "wait=99999999999",
	"chunked, chunked", "identity",
}

func text(rnd *rand.Rand) string {
	switch rnd.IntN(12) {
	case 0:
		return strings.Repeat(one(rnd, odd...), 1+rnd.IntN(50))
	case 1:
		return strings.Repeat("a", 1<<rnd.IntN(15))
	case 2:
		b := make([]byte, rnd.IntN(40))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	return one(rnd, odd...)
}

// lines are header lines that requests do not have, or not so.
var lines = []string{
	"Host: other", "Host:", "Content-Length: -1", "Content-Length: +4", "Content-Length: 0x4", "Content-Length: 4, 4",
	"Content-Length: 99999999999999999999", "Content-Length: 5",
	"Content-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked",
	"Transfer-Encoding : chunked", "Transfer-Encoding: identity",
	"Transfer-Encoding:\tchunked", "Expect: 100-continue", "Expect: nonsense", "Connection: close", "Connection: keep-alive", "Connection: upgrade",
	"Upgrade: h2c", "Upgrade: websocket",
	"HTTP2-Settings: AAMAAABkAAQAAP__", "Trailer: X", "TE: trailers", "Content-Encoding: gzip", "Content-Type: application/json",
	"Content-Type: application/json; charset=\"",
	"Content-Type: multipart/form-data; boundary=x", "Content-Type: application/x-www-form-urlencoded", "Content-Type: text/plain\r\n folded",
	"Authorization: Bearer bob-token",
	"Authorization: Bearer", "Authorization: Basic Og==", "Lease-Token: 00000000000000000000000000000000",
	"Lease-Token: 00000000000000000000000000000001", "Lease-Token: x",
	"Idempotency-Key:", "Idempotency-Key: \"", "Idempotency-Key: k", "Prefer: wait=1", "Prefer: wait=-1", "Prefer: wait=\"", "Range: bytes=0-0,1-1,0-",
	"Range: bytes=x", "If-None-Match: *",
	"If-Match: \"x\"", "If-Range: \"x\"", "If-Modified-Since: x", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /v1/queues",
	"X-Forwarded-For: 127.0.0.1", "Bad Name: x", "No-Colon", ": x",
	"X-Nul: \x00", "X-High: \xff", "X-CR: a\rb",
}

// spoil does something to the request that makes it another, most often a bad one.
func (r *raw) spoil(rnd *rand.Rand) {
	switch rnd.IntN(8) {
	case 0:
		r.method = one(rnd, "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "", "G\x00T",
			strings.Repeat("X", 5000), text(rnd))
	case 1:
		r.target = one(rnd, "*", "/", "http://other"+r.target, "//other"+r.target, "/.."+r.target, strings.ToUpper(r.target), r.target+"/",
			r.target+"?"+r.target, "example.com:443",
			"http://[::1", "/"+strings.Repeat("a/", 4000), r.target+"#x", "x", "/v1/queues/"+strings.Repeat("q", 300)+"/jobs",
			"/v1/jobs/"+strings.ToLower(r.target))
	case 2:
		at := rnd.IntN(len(r.target) + 1)
		r.target = r.target[:at] + text(rnd) + r.target[min(len(r.target), at+rnd.IntN(3)):]
	case 3:
		r.version = one(rnd, "HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "HTTP/1.10", "HTTP/11", "http/1.1", "", text(rnd))
	case 4:
		for range 1 + rnd.IntN(3) {
			r.header = append(r.header, one(rnd, lines...))
		}
		if rnd.IntN(2) == 0 {
			rnd.Shuffle(len(r.header), func(i, j int) { r.header[i], r.header[j] = r.header[j], r.header[i] })
		}
	case 5:
		at := rnd.IntN(len(r.header))
		name, value, _ := strings.Cut(r.header[at], ":")
		switch rnd.IntN(5) {
		case 0:
			r.header = append(r.header[:at], r.header[at+1:]...)
			if len(r.header) == 0 {
				r.header = []string{"X: y"}
			}
		case 1:
			r.header[at] = name + ": " + text(rnd)
		case 2:
			r.header[at] = name + text(rnd) + ":" + value
		case 3:
			r.header = append(r.header, r.header[at])
		case 4:
			for i := range one(rnd, 50, 500) {
				r.header = append(r.header, "X-"+strconv.Itoa(i)+": "+value)
			}
		}
	case 6:
		if len(r.body) > 0 {
			at := rnd.IntN(len(r.body))
			r.body = join(r.body[:at], []byte(text(rnd)), r.body[min(len(r.body), at+rnd.IntN(5)):])
		}
	case 7:
		r.frame(rnd)
	}
}

// frame gives the body a frame of its own.
func (r *raw) frame(rnd *rand.Rand) {
	if rnd.IntN(2) == 0 {
		n := len(r.body) + rnd.IntN(20) - 10
		r.header = append(r.header, "Content-Length: "+one(rnd, strconv.Itoa(n), strconv.Itoa(n)+"0000", text(rnd)))
		return
	}
	r.header = append(r.header, "Transfer-Encoding: chunked")
	size := one(rnd, fmt.Sprintf("%x", len(r.body)), fmt.Sprintf("%x", len(r.body)+1), "FFFFFFFFFFFFFFFF", "80000000", "-1", "0x5", "",
		"5;"+strings.Repeat("x", 1<<rnd.IntN(14)), "g", text(rnd))
	end := one(rnd, "\r\n0\r\n\r\n", "\n0\n\n", "\r\n0\r\nX-Trailer: a\r\n\r\n", "0\r\n\r\n", "\r\n0\r\nContent-Length: 5\r\n\r\n",
		"\r\n0\r\n"+text(rnd)+"\r\n\r\n", "", "\r\n")
	r.body = join([]byte(size+one(rnd, "\r\n", "\r\n", "\n", "")), r.body, []byte(end))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// damage changes bytes, wherever they are.
func damage(rnd *rand.Rand, p []byte) []byte {
	for range 1 + rnd.IntN(3) {
		if len(p) < 2 {
			return p
		}
		at := rnd.IntN(len(p))
		switch rnd.IntN(5) {
		case 0:
			p[at] ^= 1 << rnd.IntN(8)
		case 1:
			p[at] = byte(rnd.Uint32())
		case 2:
			p = p[:at]
		case 3:
			p = join(p[:at], p[min(len(p), at+1+rnd.IntN(10)):])
		case 4:
			end := min(len(p), at+1+rnd.IntN(60))
			p = join(p[:end], p[at:])
		}
	}
	return p
}

// stream returns what is sent over one connection, and how many requests that is meant to be.
func (w *world) stream(rnd *rand.Rand) (p []byte, n int) {
	n = 1 + rnd.IntN(4)
	for range n {
		r := w.good(rnd)
		for range rnd.IntN(3) {
			r.spoil(rnd)
		}
		one := r.bytes(rnd)
		if rnd.IntN(4) == 0 {
			one = damage(rnd, one)
		}
		p = append(p, one...)
	}
	return p, n
}
