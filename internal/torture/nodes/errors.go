package nodes

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsDeadlock reports whether an error says that the server has ended a deadlock by failing this transaction.
func IsDeadlock(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40P01"
}
