package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Problem says in a few words why a request failed, for whoever named its URL. It never has anything of the answer, nor an address or name
// that the other side did not know: those stand in the error itself, which is for the operator.
func Problem(err error) string {
	var (
		f       *forbidden
		status  *StatusError
		dns     *net.DNSError
		timeout net.Error
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &f) && f.addr.IsValid():
		return "forbidden address: the host has no public address"
	case errors.As(err, &f):
		return f.Error()
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, ErrTooLarge):
		return ErrTooLarge.Error()
	case errors.As(err, &dns):
		return "the host's name could not be resolved"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "the request was interrupted"
	case errors.As(err, &cert):
		return "the host's certificate is not valid"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &op) && strings.HasSuffix(op.Op, " error"): // an alert
		return "no TLS connection came about"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection came about"
	}
	return "no valid answer came"
}
