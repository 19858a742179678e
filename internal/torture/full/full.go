// Package full fills disks.
//
// Each unit is a process that fills its disk by enqueues until not even an empty job fits, then receives and acks all there is, then has
// room made, after which enqueues must work again in the same store (I14). The disk is the store's own MaxSize, a limit on the size of
// files (EFBIG, and writes that are short), a tmpfs, an ext4 or xfs image, or a tmpfs that grows while work goes on. In some units another
// process fills the disk, and kills itself among its acks: the file must open on the full disk, and acks go on.
//
// In a file at its MaxSize, and on a disk that is full, every receive and ack must fit: the store keeps a reserve for them. Only below a limit
// on the size of files there is none, since the disk gives blocks that the process may not write: what is refused there is counted, must
// have no effect, and must do once there is room. At all times nothing accepted is lost, nothing acked comes back, and nothing refused is there
// (I1, I2, I3). File systems are mounted where only the unit sees them; without root they are left out. Quotas of users are not set: root is
// exempt from them.
package full

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/syscalls/ram"
)

const techniqueName = "full"

// Technique fills disks.
var Technique = &attack.Technique{
	Name:    techniqueName,
	Promise: "a full disk refuses what is new and nothing else: what was accepted can be acked, and enqueues work again once there is room (I14)",
	Unit:    "disks",
	CI:      10,
	Release: 300,
	Control: 30,
	Minutes: 6,
	Run:     run,
	Child:   child,
}

// cases are what units are, one after the other.
var cases = []order{
	{Kind: maxSize, Kept: true, Payload: 100, Many: true},
	{Kind: tmpfs, Payload: 20_000},
	{Kind: maxSize, Payload: 3000},
	{Kind: ext4, Payload: 5000, Many: true},
	{Kind: limit, Payload: 20_000, Many: true},
	{Kind: maxSize, Payload: 2000, Die: 50},
	{Kind: growing, Payload: 20_000, Kept: true},
	{Kind: tmpfs, Payload: 20_000, Die: 30},
	{Kind: maxSize, Kept: true, Payload: 20_000},
	{Kind: maxSize, Kept: true, Payload: 0, Many: true, Die: 100},
	{Kind: xfs, Payload: 20_000, Many: true},
	{Kind: ext4, Payload: 20_000, Die: 30},
	{Kind: limit, Payload: 2000, Die: 40},
	{Kind: tmpfs, Kept: true, Payload: 200, Many: true},
	{Kind: ext4, Kept: true, Payload: 200},
	{Kind: xfs, Kept: true, Payload: 200, Many: true, Die: 20},
}

const unitTime = 3 * time.Minute

func run(r *attack.Run) {
	dir, remove := ram.Dir(r)
	defer remove()
	r.Each(2, func(unit int, rnd *rand.Rand) {
		o := cases[unit%len(cases)]
		o.Dir = filepath.Join(dir, fmt.Sprint("full", unit))
		o.Size = 3<<20 + rnd.Int64N(3<<20)
		if o.Kind == ext4 {
			o.Size += 6 << 20 // its journal takes four
		}
		if o.Kind == limit {
			o.Size += 17 << 20 // a store without MaxSize grows its file by 16 MiB at a time
		}
		o.Callers = []int{1, 4, 16}[rnd.IntN(3)]
		if unit >= len(cases) { // the first ones are the same each time
			o.Payload = rnd.IntN(2*o.Payload + 1)
			o.Many = rnd.IntN(2) == 0
			o.Die *= 1 + rnd.IntN(3)
		}
		fill(r, unit, o)
	})
}

// fill does a unit in a process of its own.
func fill(r *attack.Run, unit int, o order) {
	d := disk{kind: o.Kind}
	if program := map[string]string{ext4: "mkfs.ext4", xfs: "mkfs.xfs"}[o.Kind]; d.mounted() && os.Geteuid() != 0 || program != "" && !there(program) {
		r.Count("left out: "+o.Kind, 1)
		return
	}
	ctx, stop := context.WithTimeout(r.Context(), unitTime)
	defer stop()
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		r.Bad("%v", err)
		return
	}
	defer os.RemoveAll(o.Dir)
	arg, err := json.Marshal(o)
	if err != nil {
		r.Bad("%v", err)
		return
	}
	cmd := attack.Command(ctx, techniqueName, string(arg))
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if d.mounted() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	err = cmd.Run()
	if r.Over() {
		return
	}
	what := fmt.Sprintf("unit %d, %s of %d bytes, payloads of %d, %d callers, many %t, kept %t, killed after %d acks",
		unit, o.Kind, o.Size, o.Payload, o.Callers, o.Many, o.Kept, o.Die)
	var t telling
	if jsonErr := json.Unmarshal(out.Bytes(), &t); err != nil || jsonErr != nil {
		r.Bad("%s: it ended with %v: %s", what, err, stderr.String()[:min(stderr.Len(), 2000)])
		return
	}
	for _, bad := range t.Bad {
		r.Bad("%s: %s", what, bad)
	}
	for figure, n := range t.Counts {
		r.Count(figure, n)
	}
}

func there(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
