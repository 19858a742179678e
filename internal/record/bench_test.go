package record_test

import (
	"testing"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// BenchmarkFields measures what a store does with the fields of each job.
func BenchmarkFields(b *testing.B) {
	spec := &storage.Spec{
		ID: id, Queue: queue, Account: "a", Key: "key", RequestHash: [32]byte{1}, Position: 8, Created: at, Name: "name", ContentType: "text/plain", Size: 256,
	}
	status := &storage.Status{
		State: storage.Running, Lease: storage.Held, Version: 3, Due: at, LeaseExpires: at, Started: at, Token: storage.Token{1}, Deliveries: 1,
	}
	buf := make([]byte, 0, 512)
	p, q := record.AppendSpec(nil, spec), record.AppendStatus(nil, status)
	var err error
	for _, of := range []struct {
		name string
		fn   func()
	}{
		{"append=spec", func() { record.AppendSpec(buf, spec) }},
		{"append=status", func() { record.AppendStatus(buf, status) }},
		{"decode=spec", func() { _, err = record.Spec(p, id) }},
		{"decode=status", func() {
			var s storage.Status
			err = record.Status(q, &s)
		}},
	} {
		b.Run(of.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				of.fn()
			}
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
