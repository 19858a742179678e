package longpoll_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pollackq/pollack/longpoll"
)

// A mailbox whose readers wait until there is a letter.
type mailbox struct {
	lines longpoll.Lines[string, *string] // a waiter brings along where to put a letter

	mu      sync.Mutex // guards letters
	letters map[string][]string
}

func (m *mailbox) put(name, letter string) {
	m.mu.Lock()
	m.letters[name] = append(m.letters[name], letter)
	m.mu.Unlock()
	m.lines.Signal(name, 1)
}

func (m *mailbox) take(ctx context.Context, name string) (letter string, err error) {
	_, err = m.lines.Wait(ctx, name, &letter, func() (bool, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.letters[name]) == 0 {
			return false, nil
		}
		letter, m.letters[name] = m.letters[name][0], m.letters[name][1:]
		return true, nil
	})
	return letter, err
}

func ExampleLines() {
	m := mailbox{letters: make(map[string][]string)}
	go m.put("alice", "hello")
	fmt.Println(m.take(context.Background(), "alice"))

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := m.take(ctx, "bob")
	fmt.Println(errors.Is(err, context.DeadlineExceeded), m.lines.Waiting())
	// Output:
	// hello <nil>
	// true 0
}

// A letter is handed to a reader who is already waiting; only where there is none is it kept.
func ExampleLines_Reserve() {
	m := mailbox{letters: make(map[string][]string)}
	post := func(name, letter string) {
		if r, ok := m.lines.Reserve(name); ok {
			*r.Value = letter
			r.HandOver()
			return
		}
		m.put(name, letter)
	}
	go post("alice", "hello")
	fmt.Println(m.take(context.Background(), "alice"))
	// Output:
	// hello <nil>
}
