package statuspoll

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// Placeholder stands for the order's id in a Template.
const Placeholder = "{order_id}"

// A Template is the URL of a status endpoint with a placeholder for the order's id.
type Template struct{ before, after string }

// ParseTemplate reads a template: an absolute URL with HTTPS (or, where that is allowed, HTTP), without user and fragment, with {order_id} once in its path,
// which must be escaped where need be, and no other braces. The error says what is wrong.
func ParseTemplate(s string, allowHTTP bool) (*Template, error) {
	before, after, found := strings.Cut(s, Placeholder)
	_, path, absolute := strings.Cut(before, "://")
	var err error
	switch {
	case !found:
		err = errors.New("it must have " + Placeholder + " in its path")
	case strings.Contains(after, Placeholder):
		err = errors.New("it must have " + Placeholder + " once")
	case strings.ContainsAny(before+after, "{}"):
		err = errors.New("it must have no braces but those of " + Placeholder)
	case absolute && (!strings.Contains(path, "/") || strings.ContainsAny(path, "?#")):
		err = errors.New(Placeholder + " must be in its path")
	default:
		if _, err = outbound.CheckURL(before+"id"+after, allowHTTP); err == nil && !keepsEscapes(before, after) {
			err = errors.New("its path must have no characters that are to be escaped, such as ` or ^: write them as %60 or %5E")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("status URL: %w", err)
	}
	return &Template{before, after}, nil
}

// keepsEscapes reports whether an escaped character of an id stays so. In a path that has characters which must be escaped and are not, net/url
// escapes all anew, and an escaped slash would become one.
func keepsEscapes(before, after string) bool {
	const escaped = "%2E%2F"
	u, err := url.Parse(before + escaped + after)
	return err == nil && strings.Contains(u.EscapedPath(), escaped)
}

// URL returns the URL for an order. Its id is always one segment of the path, or a part of one, whatever characters it has.
func (t *Template) URL(orderID string) string {
	// Dots are escaped too, since a segment of nothing else leads elsewhere.
	return t.before + strings.ReplaceAll(url.PathEscape(orderID), ".", "%2E") + t.after
}

// String returns the template as it was parsed.
func (t *Template) String() string { return t.before + Placeholder + t.after }
