package cuts

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// a disk of one file, which was synced as it is, that is never mounted.
func oneFile(t *testing.T, seed uint64, content string) (*disk, *node) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &disk{rnd: rand.New(rand.NewPCG(seed, 0)), lost: func() {}}
	d.cutAt = 1000
	if err := d.load(dir); err != nil {
		t.Fatal(err)
	}
	return d, d.names["x"]
}

func (n *node) put(t *testing.T, content string, off int64) {
	t.Helper()
	if _, err := n.Write(context.Background(), nil, []byte(content), off); err != 0 {
		t.Fatal(err)
	}
}

// What was synced survives; of what was not, each sector does or does not.
func TestWhatSurvives(t *testing.T) {
	old, synced, not := strings.Repeat("o", 4*sector), strings.Repeat("s", sector), strings.Repeat("n", 2*sector)
	seen := make(map[string]bool)
	for seed := range uint64(300) {
		d, n := oneFile(t, seed, old)
		n.put(t, synced, 0)
		if err := n.Fsync(t.Context(), nil, 0); err != 0 {
			t.Fatal(err)
		}
		n.put(t, not, 2*sector)
		left := string(d.survivors()["x"])
		if left[:2*sector] != synced+old[:sector] {
			t.Fatalf("seed %d: what was synced is not there", seed)
		}
		seen[string([]byte{left[2*sector], left[3*sector]})] = true
	}
	for _, want := range []string{"oo", "on", "no", "nn"} {
		if !seen[want] {
			t.Errorf("it never happened that of two sectors were left %q", want)
		}
	}
}

// A sync that fails forgets: readers see what was written, the disk never has it, even if a later sync succeeds.
func TestAFailedSyncForgets(t *testing.T) {
	d, n := oneFile(t, 1, strings.Repeat("o", 2*sector))
	d.eioAt, d.cutAt = 1, 100
	n.put(t, strings.Repeat("f", sector), 0)
	if err := n.Fsync(t.Context(), nil, 0); err != syscall.EIO {
		t.Fatalf("the sync: %v, want %v", err, syscall.EIO)
	}
	n.put(t, strings.Repeat("n", sector), sector)
	if err := n.Fsync(t.Context(), nil, 0); err != 0 {
		t.Fatal(err)
	}
	p := make([]byte, 1)
	if r, err := n.Read(t.Context(), nil, p, 0); err != 0 || p[0] != 'f' {
		t.Errorf("read %q, %v, %v", p, r, err)
	}
	if got, want := string(d.survivors()["x"]), strings.Repeat("o", sector)+strings.Repeat("n", sector); got != want {
		t.Error("what survives is not what the disk had")
	}
}

// A new name survives for certain once the folder has been synced (I16).
func TestNamesSurviveOnceTheFolderIsSynced(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		d, n := oneFile(t, seed, "x")
		for i, name := range []string{"y", "z"} {
			d.names[name] = n
			d.renamed()
			if i == 0 {
				h, _, _ := d.OpendirHandle(t.Context(), 0)
				if err := h.(*folder).Fsyncdir(t.Context(), 0); err != 0 {
					t.Fatal(err)
				}
			}
		}
		left := d.survivors()
		if left["x"] == nil || left["y"] == nil {
			t.Fatalf("seed %d: a name that was synced is lost", seed)
		}
		if left["z"] == nil {
			lost++
		}
	}
	if lost == 0 || lost == 100 {
		t.Errorf("a name that was not synced was lost %d times of 100", lost)
	}
}

// After the cut nothing works any more.
func TestAfterTheCutAllFails(t *testing.T) {
	d, n := oneFile(t, 1, "x")
	d.cutAt = 2
	lost := false
	d.lost = func() { lost = true }
	n.put(t, "y", 0)
	if err := n.Fsync(t.Context(), nil, 0); err != syscall.EIO || !lost {
		t.Errorf("the sync at which power goes: %v, lost %v", err, lost)
	}
	if _, err := n.Write(t.Context(), nil, []byte("z"), 0); err != syscall.EIO {
		t.Errorf("write: %v", err)
	}
	if _, err := n.Read(t.Context(), nil, make([]byte, 1), 0); err != syscall.EIO {
		t.Errorf("read: %v", err)
	}
	if err := d.Unlink(t.Context(), "x"); err != syscall.EIO {
		t.Errorf("unlink: %v", err)
	}
	var out fuse.AttrOut
	if err := n.Setattr(t.Context(), nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE}}, &out); err != syscall.EIO {
		t.Errorf("truncate: %v", err)
	}
}
