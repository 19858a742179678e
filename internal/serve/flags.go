package serve

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"
)

// Tokens declares -token, repeatable: TOKEN, which belongs to the account given here, or ACCOUNT=TOKEN. It returns the account of each token.
func Tokens(f *flag.FlagSet, account string) map[string]string {
	tokens := make(map[string]string)
	f.Func("token", "bearer `TOKEN` that is let in, or ACCOUNT=TOKEN for an account of its own; may be repeated", func(s string) error {
		owner, token, found := strings.Cut(s, "=")
		switch {
		case !found:
			owner, token = account, s
		case owner == "":
			owner = account
		}
		if token == "" || token[0] == '=' {
			return errors.New("want TOKEN or ACCOUNT=TOKEN; a TOKEN with = in it needs an = before it")
		}
		if _, twice := tokens[token]; twice {
			return errors.New("this token was given already")
		}
		tokens[token] = owner
		return nil
	})
	return tokens
}

// Header declares -header "Name: value", repeatable, and returns what was given.
func Header(f *flag.FlagSet, usage string) http.Header {
	header := make(http.Header)
	f.Func("header", usage+"; may be repeated", func(s string) error {
		name, value, found := strings.Cut(s, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || name == "" || value == "" || strings.ContainsAny(name, " \t\r\n") || strings.ContainsAny(value, "\r\n") {
			return fmt.Errorf("want %q", "Name: value")
		}
		header.Add(name, value)
		return nil
	})
	return header
}
