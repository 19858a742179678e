package statuspoll

// Placeholder stands for the order's id in a Template.
const Placeholder = "{order_id}"

// A Template is the URL of a status endpoint with a placeholder for the order's id.
type Template struct{ before, after string }

// ParseTemplate reads a template: an absolute URL with HTTPS (or, where that is allowed, HTTP), without userinfo and fragment, with {order_id} once in its
// path and no other braces. The error says what is wrong.
func ParseTemplate(s string, allowHTTP bool) (*Template, error) { return nil, errNotYet }

// URL returns the URL for an order. Its id is always one segment of the path, or a part of one, whatever characters it has.
func (t *Template) URL(orderID string) string { return "" }

// String returns the template as it was parsed.
func (t *Template) String() string { return t.before + Placeholder + t.after }
