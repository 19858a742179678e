package pgstore

import (
	"context"
	"time"

	"github.com/pollackq/pollack/storage"
)

type hub struct{ channel string }

func newHub(s *Store) *hub                     { return &hub{} }
func (h *hub) start(ctx context.Context) error { return nil }
func (h *hub) stop()                           {}
func (h *hub) payloads(c *changes) []string    { return nil }
func (h *hub) empty(q storage.QueueName)       {}

type changes struct{ user bool }

func (c *changes) job(id storage.ID)              {}
func (c *changes) readied(q storage.QueueName)    {}
func (c *changes) queue(q storage.QueueName)      {}
func (c *changes) dueAt(t time.Time)              {}
func (s *Store) Notify(l storage.Listener) func() { return func() {} }
func (s *Store) Waits(q storage.QueueName)        {}
func (s *Store) Watches(id storage.ID)            {}
func (s *Store) Lag() time.Duration               { return 0 }
