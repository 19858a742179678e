package outbound

import (
	"context"
	"net"
	"net/http"
)

// DialWith has a client of NewClient connect otherwise.
func DialWith(c *http.Client, dial func(context.Context) (net.Conn, error)) {
	c.Transport.(*guard).transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
}
