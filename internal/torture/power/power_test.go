package power

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/torture/attack"
)

func TestMain(m *testing.M) {
	if os.Getenv(dying) != "" {
		attack.RunChild([]*attack.Technique{{Name: Technique.Name, Child: doomed}})
	}
	attack.RunChild([]*attack.Technique{Technique})
	os.Exit(m.Run())
}

// xx writes a string as strace -xx does.
func xx(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "\\x%02x", s[i])
	}
	return `"` + b.String() + `"`
}

func parsed(t *testing.T, there map[string][]byte, lines ...string) *trace {
	t.Helper()
	tr, err := parse(strings.NewReader(strings.Join(lines, "\n")+"\n"), "/d", there)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// A sync covers what was over before it began, of whatever thread, and nothing that was under way.
func TestWhatASyncCovers(t *testing.T) {
	tr := parsed(t, map[string][]byte{"x": []byte("....")},
		`1 openat(AT_FDCWD, `+xx("/d/x")+`, O_RDWR|O_CLOEXEC) = 5`,
		`1 pwrite64(5, `+xx("A")+`, 1, 0 <unfinished ...>`,
		`2 pwrite64(5, `+xx("B")+`, 1, 1) = 1`,
		`2 fdatasync(5 <unfinished ...>`,
		`1 <... pwrite64 resumed>) = 1`,
		`1 pwrite64(5, `+xx("C")+`, 1, 2) = 1`,
		`3 pwrite64(5, `+xx("D")+`, 1, 3) = -1 EIO (Input/output error)`,
		`2 <... fdatasync resumed>) = 0`,
		`1 close(5) = 0`,
	)
	d := newDisk(tr)
	for _, e := range tr.events {
		d.do(e)
	}
	f := d.files[tr.names["x"]]
	if got := string(f.durable.flat[:f.durable.size]); got != ".B.." {
		t.Errorf("durable is %q, want %q", got, ".B..")
	}
	whole := f.lose(all, rand.New(rand.NewPCG(1, 1)), new(strings.Builder))
	if got := string(whole.pages[0][:whole.size]); got != "ABC." {
		t.Errorf("everything is %q, want %q", got, "ABC.")
	}
}

// Names are durable once the folder has been synced, and not before (I16).
func TestNamesAreLostUnlessTheFolderWasSynced(t *testing.T) {
	tr := parsed(t, nil,
		`1 openat(AT_FDCWD, `+xx("/d/x.new")+`, O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 5`,
		`1 pwrite64(5, `+xx("A")+`, 1, 0) = 1`,
		`1 fsync(5) = 0`,
		`1 linkat(AT_FDCWD, `+xx("/d/x.new")+`, AT_FDCWD, `+xx("/d/x")+`, 0) = 0`,
		`1 openat(AT_FDCWD, `+xx("/d")+`, O_RDONLY|O_CLOEXEC) = 6`,
		`1 fsync(6) = 0`,
		`1 unlinkat(AT_FDCWD, `+xx("/d/x.new")+`, 0) = 0`,
		`1 renameat(AT_FDCWD, `+xx("/d/x")+`, AT_FDCWD, `+xx("/d/y")+`) = 0`,
	)
	seen := make(map[string]bool) // what names may be there, by the line
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		d := newDisk(tr)
		for _, e := range tr.events {
			d.do(e)
			if e.ended {
				names := strings.Join(slices.Sorted(maps.Keys(d.lose(drawWay(rnd), rnd).names)), " ")
				seen[fmt.Sprintf("%d: %s", e.end, names)] = true
			}
		}
	}
	want := []string{"1: ", "1: x.new", "2: ", "2: x.new", "3: ", "3: x.new", "4: ", "4: x", "4: x x.new", "4: x.new", "6: x x.new",
		"7: x", "7: x x.new", "8: x", "8: x x.new", "8: x.new y", "8: y"}
	got := slices.DeleteFunc(slices.Sorted(maps.Keys(seen)), func(s string) bool {
		return s == "4: x" // where the order of names is not kept: the link without the name it was made of
	})
	if want := slices.DeleteFunc(want, func(s string) bool { return s == "4: x" }); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Of what was not synced each sector is old or new, and the size one of those that the file had.
func TestWhatIsLeftOfWrites(t *testing.T) {
	old, long := strings.Repeat("o", 8192), strings.Repeat("n", 6144)
	tr := parsed(t, map[string][]byte{"x": []byte(old)},
		`1 openat(AT_FDCWD, `+xx("/d/x")+`, O_RDWR|O_CLOEXEC) = 5`,
		`1 ftruncate(5, 16384) = 0`,
		`1 pwrite64(5, `+xx(long)+`, 6144, 4096) = 6144`,
	)
	sizes, cuts := make(map[int64]bool), make(map[int]bool)
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		d := newDisk(tr)
		for _, e := range tr.events {
			d.do(e)
		}
		s := d.lose(torn, rnd)
		l := s.left[tr.names["x"]]
		sizes[l.size] = true
		content := []byte(old + strings.Repeat("\x00", 8192))[:l.size]
		for number, page := range l.pages {
			copy(content[number*pageSize:], page)
		}
		for i := 0; i+512 <= len(content); i += 512 {
			part := string(content[i : i+512])
			if strings.Count(part, part[:1]) != 512 {
				t.Fatalf("seed %d: the sector at %d is of two", seed, i)
			}
			if part[0] == 'n' && (i < 4096 || i >= 4096+6144) {
				t.Fatalf("seed %d: the sector at %d was not written", seed, i)
			}
			if i > 0 && content[i-1] != content[i] {
				cuts[i] = true
			}
		}
	}
	if !sizes[8192] || !sizes[16384] || len(sizes) != 2 {
		t.Errorf("sizes are %v, want 8192 and 16384", sizes)
	}
	if len(cuts) < 10 {
		t.Errorf("writes were torn only at %v", cuts)
	}
}

// recorded records a workload, and returns the folder.
func recorded(t *testing.T, w *workload) string {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	dir := t.TempDir()
	if err := record(t.Context(), w, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A disk that skips the syncs of bbolt's data, or those of its first pages, loses what was acknowledged, or all: the states show it.
func TestSkippedSyncsAreFound(t *testing.T) {
	w := workloads[0]
	w.Seed, w.Ops, w.Lives, w.States = 1, 60, 1, 400
	dir := recorded(t, &w)
	technique := *Technique
	technique.Run = func(r *attack.Run) { lookAt(r, &w, dir) }
	if r := technique.Do(t.Context(), &attack.Run{}); len(r.Bad) > 0 || r.Done != w.States {
		t.Fatalf("with all syncs: %d states, %q", r.Done, r.Bad)
	}
	path := filepath.Join(dir, "trace")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := (&checker{dir: dir}).read()
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"data", "meta"} {
		lines := strings.SplitAfter(string(text), "\n")
		n := 0
		for _, o := range syncs(tr, of == "meta") {
			lines[o.begin-1], lines[o.end-1] = "", ""
			n++
		}
		if n < 20 {
			t.Fatalf("only %d syncs of %s were skipped", n, of)
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := technique.Do(t.Context(), &attack.Run{Control: true}); len(r.Bad) == 0 {
			t.Errorf("without the syncs of %s nothing is bad", of)
		}
	}
}

// syncs returns the syncs that cover the first two pages of a file, or those that do not.
func syncs(tr *trace, meta bool) (list []*op) {
	d := newDisk(tr)
	for _, e := range tr.events {
		if e.kind == opSync && !e.ended {
			covers := slices.ContainsFunc(d.files[e.file].pending, func(o *op) bool { return o.kind == opWrite && o.off < 2*pageSize })
			if covers == meta {
				list = append(list, e.op)
			}
		}
		d.do(e)
	}
	return list
}

// The workload that is to have jobs written back has: its last life ends without a close, and yet the trees hold jobs.
func TestJobsAreWrittenBack(t *testing.T) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.Callers == 1 })
	w := workloads[i]
	db, err := bbolt.Open(filepath.Join(recorded(t, &w), "store", storeName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		if n := tx.Bucket([]byte("pollack")).Bucket([]byte("status")).Stats().KeyN; n < 50 {
			t.Errorf("the trees hold %d jobs", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// dying is set in the environment of a process that is to die at a state.
const dying = "POWER_TEST_DIES_AT"

// doomed says that it looks at 50 states, but for the one at which it dies.
func doomed(args []string) int {
	skip, at := 0, 0
	fmt.Sscan(args[3], &skip)
	fmt.Sscan(os.Getenv(dying), &at)
	for n := skip + 1; n <= 50; n++ {
		fmt.Println("at", n, "a state")
		if n == at {
			panic("a damaged page")
		}
	}
	return 0
}

// What ends the process that looks at a state is told with the state's number, and the states behind it are looked at.
func TestADeathIsNamed(t *testing.T) {
	t.Setenv(dying, "17")
	technique := *Technique
	technique.Run = func(r *attack.Run) { lookAt(r, new(workload), t.TempDir()) }
	r := technique.Do(t.Context(), &attack.Run{Seed: 1})
	if len(r.Bad) != 1 || !strings.Contains(r.Bad[0], "state 17, a state") || !strings.Contains(r.Bad[0], "a damaged page") || r.Done != 50 {
		t.Errorf("%d states were looked at, bad are %q", r.Done, r.Bad)
	}
}
