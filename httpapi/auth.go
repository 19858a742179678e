package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// An Authenticator says whose request it is: the account whose queues and jobs it may see. Any error is answered 401, unless it is (or wraps) a
// *Problem, which is answered as it is: 503 while credentials cannot be looked up. An Authenticator that compares secrets should do so in constant
// time, as those of this package do.
type Authenticator func(r *http.Request) (account string, err error)

// An Action is what a caller wants to do, for Options.Authorize: producers submit, read and cancel, consumers receive, read and settle, operators
// inspect and manage.
type Action string

// The actions.
const (
	ActionSubmit  Action = "submit"
	ActionRead    Action = "read" // status, payload and result of a job
	ActionCancel  Action = "cancel"
	ActionReceive Action = "receive" // poll
	ActionSettle  Action = "settle"  // ack, complete, fail, release, extend and progress
	ActionInspect Action = "inspect" // queues and lists of their jobs
	ActionManage  Action = "manage"  // create, change, close, purge and delete queues; redrive
)

// BearerTokens returns an Authenticator for "Authorization: Bearer TOKEN", given the account of each token. Tokens are kept and compared as SHA-256
// digests, against all of them in turn: for more than some hundreds, look the digest up in a database. Empty tokens let nobody in.
func BearerTokens(accounts map[string]string) Authenticator {
	known := newDigests()
	for token, account := range accounts {
		if token != "" {
			known.add(token, account)
		}
	}
	return func(r *http.Request) (string, error) {
		if token, ok := credentials(r, "bearer"); ok && token != "" {
			if account, ok := known.find(token); ok {
				return account, nil
			}
		}
		return "", Unauthorized("Bearer")
	}
}

// A Login is a user's name and password.
type Login struct{ User, Password string }

// BasicAuth returns an Authenticator for HTTP Basic authentication, given the account of each login. It compares as BearerTokens does, so the
// passwords should be long random keys, not words of people. Logins without a user and a password let nobody in.
func BasicAuth(realm string, accounts map[Login]string) Authenticator {
	known := newDigests()
	for l, account := range accounts {
		if l != (Login{}) {
			known.add(l.User+"\x00"+l.Password, account)
		}
	}
	challenge := `Basic realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(realm) + `", charset="UTF-8"`
	return func(r *http.Request) (string, error) {
		if _, ok := credentials(r, "basic"); ok {
			if user, password, ok := r.BasicAuth(); ok && !strings.Contains(user, "\x00") {
				if account, ok := known.find(user + "\x00" + password); ok {
					return account, nil
				}
			}
		}
		return "", Unauthorized(challenge)
	}
}

// HeaderAuth returns an Authenticator for one account whose requests carry headers with secrets: all of those wanted must be there, each with exactly
// the values wanted. They are compared as SHA-256 digests, all of them in any case. Where nothing is wanted, or a header without a value, which is what
// a missing setting looks like, it lets nobody in.
func HeaderAuth(account string, want http.Header) Authenticator {
	sums := make(map[string][sha256.Size]byte, len(want))
	challenge, good := "Header", len(want) > 0
	for name, values := range want {
		name = http.CanonicalHeaderKey(name)
		_, twice := sums[name]
		good = good && !twice && len(values) > 0 && !slices.Contains(values, "")
		sums[name] = sumOf(values)
		if name == "Authorization" && len(values) > 0 {
			challenge = schemeOf(values[0])
		}
	}
	return func(r *http.Request) (string, error) {
		same := 1
		for name, sum := range sums {
			got := sumOf(r.Header.Values(name))
			same &= subtle.ConstantTimeCompare(got[:], sum[:])
		}
		if !good || same != 1 {
			return "", Unauthorized(challenge)
		}
		return account, nil
	}
}

// schemeOf returns the challenge for credentials, in which nothing of them may stand: only schemes that are well known are told from a secret.
func schemeOf(credentials string) string {
	scheme, _, _ := strings.Cut(credentials, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return "Bearer"
	case "basic":
		return `Basic realm="api", charset="UTF-8"`
	}
	return "Header"
}

// sumOf returns the digest of a header's values, each behind its length.
func sumOf(values []string) [sha256.Size]byte {
	h := sha256.New()
	for _, v := range values {
		fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// AnyOf returns an Authenticator that takes the answer of the first of several that accepts the request. When none does, the challenges of all are
// sent; a *Problem other than 401 ends the search.
func AnyOf(several ...Authenticator) Authenticator {
	return func(r *http.Request) (string, error) {
		none := Unauthorized()
		for _, a := range several {
			account, err := a(r)
			if err == nil {
				return account, nil
			}
			var p *Problem
			if !errors.As(err, &p) {
				continue
			}
			if p.Status != http.StatusUnauthorized {
				return "", err
			}
			for _, challenge := range p.Header.Values("WWW-Authenticate") {
				none.Header.Add("WWW-Authenticate", challenge)
			}
		}
		return "", none
	}
}

// Unauthorized returns the problem of an Authenticator that does not accept a request, with the challenges for WWW-Authenticate: "Bearer".
func Unauthorized(challenges ...string) *Problem {
	p := &Problem{Status: http.StatusUnauthorized, Code: "unauthorized", Detail: "credentials are missing or wrong", Header: http.Header{}}
	for _, c := range challenges {
		p.Header.Add("WWW-Authenticate", c)
	}
	return p
}

// authenticate asks the Authenticator, and sees to it that only those may be the house who are meant to.
func (h *Handler) authenticate(r *http.Request) (string, error) {
	account, err := h.opts.Authenticate(r)
	var p *Problem
	switch {
	case err == nil && account == "" && !h.opts.House:
		h.opts.Logger.Warn("Authenticate returned the empty account, which is the house's; Options.House would allow it", "path", r.URL.Path)
		return "", Unauthorized("Bearer")
	case err == nil:
		return account, nil
	case !errors.As(err, &p):
		return "", Unauthorized("Bearer")
	case p.Status == http.StatusUnauthorized && p.Header.Get("WWW-Authenticate") == "":
		q := *p
		q.Header = p.Header.Clone()
		if q.Header == nil {
			q.Header = http.Header{}
		}
		q.Header.Set("WWW-Authenticate", "Bearer") // RFC 9110 demands one
		return "", &q
	}
	return "", err
}

// allow asks Authorize.
func (c *call) allow(a Action, queue string) error {
	if c.h.opts.Authorize == nil {
		return nil
	}
	err := c.h.opts.Authorize(c.r, c.account, a, queue)
	var p *Problem
	if err == nil || errors.As(err, &p) {
		return err
	}
	return errForbidden
}

// credentials returns what stands behind the scheme in the request's one Authorization header.
func credentials(r *http.Request, scheme string) (string, bool) {
	all := r.Header.Values("Authorization")
	if len(all) != 1 {
		return "", false
	}
	got, rest, ok := strings.Cut(all[0], " ")
	return strings.TrimLeft(rest, " "), ok && strings.EqualFold(got, scheme)
}

// digests are secrets that are known only by their SHA-256, each with its account.
type digests struct {
	sums     [][sha256.Size]byte
	accounts []string
}

func newDigests() *digests { return new(digests) }

func (d *digests) add(secret, account string) {
	d.sums = append(d.sums, sha256.Sum256([]byte(secret)))
	d.accounts = append(d.accounts, account)
}

// find takes the same time whether and where the secret is found.
func (d *digests) find(secret string) (account string, ok bool) {
	sum := sha256.Sum256([]byte(secret))
	at := -1
	for i := range d.sums {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(d.sums[i][:], sum[:]), i, at)
	}
	if at < 0 {
		return "", false
	}
	return d.accounts[at], true
}
