package main

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	runChild()
	os.Exit(m.Run())
}

// The command prints every table with all its rows, each with figures. A peer that cannot be had here is named in a note.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	dir, err := os.MkdirTemp("", "bench-smoke-") // user postgres may not pass through t.TempDir's
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var out bytes.Buffer
	if err := command(t.Context(), []string{"-smoke", "-dir", dir}, &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
	printed := strings.Split(out.String(), "\n## ")[1:]
	var want []tableMaker
	for _, m := range tables {
		if !m.apart {
			want = append(want, m)
		}
	}
	if len(printed) != len(want) {
		t.Fatalf("got %d tables, want %d", len(printed), len(want))
	}
	for i, m := range want {
		if rows := figures(printed[i]); len(rows) == 0 && !excused(printed[i], "all of it") {
			t.Errorf("table %s has no figures:\n%s", m.name, printed[i])
		}
	}
	for name, rows := range map[string][]string{
		"Durable":    {"sync", "raw bbolt", "boltstore, default retention", "boltstore, retention off", "goqite", "backlite", "SQLite", "JetStream", "beanstalkd", "Redis stream"},
		"PostgreSQL": {"pgstore, one node", "pgstore, two nodes", "a table with SKIP LOCKED", "River", "commit of one INSERT", "wake across nodes"},
		"A lone consumer, durable": {"raw bbolt", "Ack, then Receive, default retention", "AckNext, default retention", "Ack, then Receive, retention off",
			"AckNext, retention off"},
		"Batches, durable": {"sync", "boltstore, default retention", "boltstore, retention off"},
		"In memory":        {"Go channel", "memstore, retention off", "memstore, default retention", "SQLite", "JetStream", "beanstalkd", "Redis stream"},
	} {
		j := slices.IndexFunc(printed, func(text string) bool { return strings.HasPrefix(text, name+"\n") })
		if j < 0 {
			t.Errorf("there is no table %q", name)
			continue
		}
		for _, row := range rows {
			if !slices.ContainsFunc(figures(printed[j]), func(line string) bool { return strings.HasPrefix(line, "| "+row) }) && !excused(printed[j], row) && !excused(printed[j], "all of it") {
				t.Errorf("table %q has no row %q:\n%s", name, row, printed[j])
			}
		}
	}
}

// figures returns the rows of a printed table, without what is asked of them, in which some cell has a figure.
func figures(printed string) []string {
	_, rest, _ := strings.Cut(printed, "|---|\n")
	rows, _, _ := strings.Cut(rest, "\n\n")
	var out []string
	for line := range strings.Lines(rows) {
		cells := strings.Split(line, "|")
		if slices.ContainsFunc(cells[min(4, len(cells)):], func(text string) bool { return strings.ContainsAny(text, "0123456789") }) {
			out = append(out, line)
		}
	}
	return out
}

// excused reports whether a note says that a row is missing.
func excused(printed, row string) bool {
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "Without ") && (strings.Contains(line, row) || strings.Contains(line, "SQLite") && (row == "goqite" || row == "backlite")) {
			return true
		}
	}
	return false
}
