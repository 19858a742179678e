package power

import (
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A workload is a life of a file that power is to be cut in.
type workload struct {
	Number  int
	Name    string
	Seed    uint64
	Callers int
	Ops     int // of all callers together, in all lives
	Lives   int // how often the file is opened, and closed cleanly but for the last time
	Large   bool
	Off     bool    // ended jobs are deleted at once
	MaxSize int64   // of the file
	Batch   int     // how many calls share a commit at most
	Begun   bool    // the file exists before the trace
	Old     bool    // it is of format 1
	Wrapped bool    // it is the user's, who has transactions of their own
	Synced  bool    // the user's list of free pages is in the file
	Copies  bool    // Backup under load, and Compact after it, which then takes the file's place
	Many    bool    // thousands of jobs are there at once
	Share   float64 // of the states: less than 1 where one takes long
	States  int
}

// workloads are the kinds there are. A release has each several times, with other seeds.
var workloads = []workload{
	{Name: "a new file", Callers: 4, Ops: 240, Lives: 2},
	{Name: "an old format, then a copy in its place", Callers: 3, Ops: 150, Lives: 3, Begun: true, Old: true, Copies: true},
	{Name: "a user's file and transactions", Callers: 4, Ops: 200, Lives: 2, Begun: true, Wrapped: true},
	{Name: "64 callers, large values", Callers: 64, Ops: 320, Lives: 1, Large: true},
	{Name: "one caller, until jobs are written back", Callers: 1, Ops: 450, Lives: 1},
	{Name: "nothing kept", Callers: 8, Ops: 400, Lives: 2, Off: true},
	{Name: "large values, nothing kept", Callers: 2, Ops: 250, Lives: 2, Large: true, Off: true},
	{Name: "a bounded file", Callers: 8, Ops: 300, Lives: 2, Large: true, MaxSize: 1 << 20},
	{Name: "many short lives", Callers: 2, Ops: 160, Lives: 10},
	{Name: "a user's file with its list of free pages", Callers: 8, Ops: 200, Lives: 1, Begun: true, Wrapped: true, Synced: true},
	{Name: "a commit for each call, until jobs are written back", Callers: 16, Ops: 450, Lives: 1, Off: true, Batch: 1},
	{Name: "thousands of jobs", Callers: 2, Ops: 60, Lives: 1, Many: true, Share: 0.01},
	{Name: "copies", Callers: 16, Ops: 160, Lives: 4, Large: true, Copies: true, Share: 0.5},
}

// plan returns the workloads of a run, and shares the states among them.
func plan(count, states int, seed func(int) uint64) []workload {
	list, sum := make([]workload, count), 0.0
	for i := range list {
		w := workloads[i%len(workloads)]
		if w.Share == 0 {
			w.Share = 1
		}
		w.Number, w.Seed = i, seed(i)
		sum += w.Share
		list[i] = w
	}
	from, upTo := 0, 0.0
	for i := range list {
		upTo += list[i].Share
		to := int(float64(states)*upTo/sum + 0.5)
		list[i].States, from = to-from, to
	}
	return list
}

func (w *workload) encode() string {
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // it is made of numbers
	}
	return string(b)
}

// broker returns the options of the broker, of the script and of the audit.
func (w *workload) broker() *jobqueue.Options {
	if w.Off {
		return &jobqueue.Options{Retention: -1, Tombstone: -1}
	}
	return nil
}

// A held store is one that is open.
type held struct {
	*boltstore.Store
	db *bbolt.DB // the user's, nil if the file is the store's own
}

// open opens the file, as its own store or the user's.
func (w *workload) open(path string) (*held, error) {
	if !w.Wrapped {
		s, err := boltstore.Open(path, &boltstore.Options{MaxSize: w.MaxSize, MaxBatch: w.Batch})
		if err != nil {
			return nil, err
		}
		return &held{Store: s}, nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: !w.Synced, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	s, err := boltstore.Wrap(db, &boltstore.Options{MaxBatch: w.Batch})
	if err != nil {
		db.Close()
		return nil, err
	}
	return &held{s, db}, nil
}

func (h *held) close() error {
	err := h.Store.Close()
	if h.db != nil && err == nil {
		err = h.db.Close()
	}
	return err
}
