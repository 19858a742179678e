package client

import "net/http"

// HTTPClient returns what makes the client's requests.
func (c *Client) HTTPClient() *http.Client { return c.opts.HTTPClient }
