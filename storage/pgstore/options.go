package pgstore

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// Options are the settings of a Store. The zero value and nil mean the defaults.
type Options struct {
	// Schema is the schema that holds the tables: lower case letters, digits and underscores, at most 40 bytes; "pollack" unless set. Each
	// schema is a store of its own.
	Schema string
	// NoMigrate has New fail where the schema is missing or older than this package, instead of calling Migrate: for roles that may not
	// create anything.
	NoMigrate bool
	// NoListen has the store do without what poolers in transaction mode do not keep for a client: settings are then made for each
	// transaction, and what other nodes commit is found by the look of Fallback, as there is no LISTEN. A pooler that does not know prepared
	// statements (PgBouncer before 1.21) also takes pgx's default_query_exec_mode=exec.
	NoListen bool
	// Fallback is how often a node looks for what no notification told it of, 2 s unless set; at least 10 ms.
	Fallback time.Duration
	// Connections bounds the store's own connections besides the one that listens: 4 unless set, at least 2.
	Connections int
	// LockTimeout is how long a transaction waits for a row that another holds before it is ErrBusy: 2 s unless set.
	LockTimeout time.Duration
	// Logger is told of what goes wrong where nobody is there to be told; nothing is logged unless it is set.
	Logger *slog.Logger
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// withDefaults returns the options with what is not set filled in, or says what is wrong with them.
func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Schema == "" {
		d.Schema = "pollack"
	}
	if d.Fallback == 0 {
		d.Fallback = 2 * time.Second
	}
	if d.Connections == 0 {
		d.Connections = 4
	}
	if d.LockTimeout == 0 {
		d.LockTimeout = 2 * time.Second
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case !schemaName.MatchString(d.Schema):
		return d, fmt.Errorf("pgstore: schema %q: a name has lower case letters, digits and underscores, begins with no digit and has at most 40 bytes", d.Schema)
	case d.Fallback < 10*time.Millisecond:
		return d, fmt.Errorf("pgstore: a Fallback of %v is below 10ms", d.Fallback)
	case d.Connections < 2:
		return d, errors.New("pgstore: fewer than 2 Connections")
	case d.LockTimeout < time.Millisecond:
		return d, fmt.Errorf("pgstore: a LockTimeout of %v is below 1ms", d.LockTimeout)
	}
	return d, nil
}
