package cuts

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// sector is what the disk writes whole.
const sector = 512

// A disk is a folder in memory, mounted through FUSE. What is written is there for all to read, and survives a loss of power if it was
// synced; of the rest some does.
type disk struct {
	fs.Inode

	cutAt int // the number of the change or sync at which power is lost; behind the sync that fails, if one is to
	eioAt int // the number of the sync that fails, and forgets what it was to write, as ext4 does; 0 is none
	lost  func()

	mu      sync.Mutex // guards all that follows, the files included
	rnd     *rand.Rand
	count   int // changes and syncs
	syncs   int
	dead    bool
	names   map[string]*node // as they are
	durable map[string]*node
	changes []map[string]*node // what names were after each change since they were durable
}

// A node is a file.
type node struct {
	fs.Inode
	disk    *disk
	now     []byte
	durable []byte
	dirty   map[int64]bool // sectors that a sync has to write
	resized bool
}

var (
	_ fs.NodeLookuper       = (*disk)(nil)
	_ fs.NodeCreater        = (*disk)(nil)
	_ fs.NodeLinker         = (*disk)(nil)
	_ fs.NodeUnlinker       = (*disk)(nil)
	_ fs.NodeRenamer        = (*disk)(nil)
	_ fs.NodeOpendirHandler = (*disk)(nil)
	_ fs.NodeGetattrer      = (*node)(nil)
	_ fs.NodeSetattrer      = (*node)(nil)
	_ fs.NodeOpener         = (*node)(nil)
	_ fs.NodeReader         = (*node)(nil)
	_ fs.NodeWriter         = (*node)(nil)
	_ fs.NodeFsyncer        = (*node)(nil)
)

// load takes the files of a folder as durable.
func (d *disk) load(dir string) error {
	d.names, d.durable = make(map[string]*node), make(map[string]*node)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		n := &node{disk: d, now: b, durable: slices.Clone(b), dirty: make(map[int64]bool)}
		d.names[e.Name()], d.durable[e.Name()] = n, n
	}
	return nil
}

// mount serves the folder.
func (d *disk) mount(at string) (*fuse.Server, error) {
	hour := time.Hour // nobody else changes anything
	return fs.Mount(at, d, &fs.Options{EntryTimeout: &hour, AttrTimeout: &hour, MountOptions: fuse.MountOptions{
		DirectMount: true, FsName: "cuts", Name: "cuts", DisableXAttrs: true, MaxWrite: 1 << 20,
	}})
}

// change counts a change or a sync, which is the last moment at which power is there if it says so.
func (d *disk) change() syscall.Errno {
	if d.dead {
		return syscall.EIO
	}
	if d.count++; d.count >= d.cutAt && d.syncs >= d.eioAt {
		d.dead = true
		d.lost()
		return syscall.EIO
	}
	return 0
}

// survivors returns what is left after a loss of power.
func (d *disk) survivors() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	names := d.durable
	if n := len(d.changes); n > 0 {
		if k := d.rnd.IntN(n + 1); k > 0 {
			names = d.changes[k-1]
		}
	}
	left := make(map[string][]byte)
	for name, n := range names {
		left[name] = n.survive(d.rnd)
	}
	return left
}

// survive returns what is left of a file: what was synced, and some sectors, or pages, of what was not.
func (n *node) survive(rnd *rand.Rand) []byte {
	left := slices.Clone(n.durable)
	if n.resized && rnd.IntN(2) == 0 {
		left = resize(left, len(n.now))
	}
	share := []float64{0, 0.1, 0.5, 0.9, 1}[rnd.IntN(5)]
	whole := int64([]int{1, 4, 8}[rnd.IntN(3)]) // so many sectors share a fate
	fate := make(map[int64]bool)
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		kept, known := fate[s/whole]
		if !known {
			kept = rnd.Float64() < share
			fate[s/whole] = kept
		}
		from, to := s*sector, min((s+1)*sector, int64(len(n.now)), int64(len(left)))
		if kept && from < to {
			copy(left[from:to], n.now[from:to])
		}
	}
	return left
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// renamed notes what names are now.
func (d *disk) renamed() { d.changes = append(d.changes, maps.Clone(d.names)) }

func (d *disk) newInode(ctx context.Context, n *node) *fs.Inode {
	if n.StableAttr().Ino != 0 {
		return n.EmbeddedInode()
	}
	return d.NewInode(ctx, n, fs.StableAttr{Mode: syscall.S_IFREG})
}

func (d *disk) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		return nil, syscall.ENOENT
	}
	n.attr(&out.Attr)
	return d.newInode(ctx, n), 0
}

func (d *disk) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != 0 {
		return nil, nil, 0, err
	}
	n := &node{disk: d, dirty: make(map[int64]bool)}
	d.names[name] = n
	d.renamed()
	n.attr(&out.Attr)
	return d.newInode(ctx, n), nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (d *disk) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := target.(*node)
	switch {
	case !ok:
		return nil, syscall.EPERM
	case d.names[name] != nil:
		return nil, syscall.EEXIST
	}
	if err := d.change(); err != 0 {
		return nil, err
	}
	d.names[name] = n
	d.renamed()
	n.attr(&out.Attr)
	return n.EmbeddedInode(), 0
}

func (d *disk) Unlink(_ context.Context, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != 0 {
		return err
	}
	delete(d.names, name)
	d.renamed()
	return 0
}

func (d *disk) Rename(_ context.Context, name string, _ fs.InodeEmbedder, to string, _ uint32) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != 0 {
		return err
	}
	d.names[to] = d.names[name]
	delete(d.names, name)
	d.renamed()
	return 0
}

// OpendirHandle opens the folder, so that it can be listed and synced.
func (d *disk) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &folder{d, slices.Sorted(maps.Keys(d.names))}, 0, 0
}

// A folder is the open folder.
type folder struct {
	disk *disk
	rest []string // names to be listed
}

func (f *folder) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if len(f.rest) == 0 {
		return nil, 0
	}
	name := f.rest[0]
	f.rest = f.rest[1:]
	return &fuse.DirEntry{Name: name, Mode: syscall.S_IFREG}, 0
}

// Fsyncdir makes the names durable.
func (f *folder) Fsyncdir(context.Context, uint32) syscall.Errno {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != 0 {
		return err
	}
	d.durable, d.changes = maps.Clone(d.names), nil
	return 0
}

func (n *node) attr(out *fuse.Attr) {
	out.Mode = syscall.S_IFREG | 0o600
	out.Size = uint64(len(n.now))
	out.Nlink = 1
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.attr(&out.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		if err := n.disk.change(); err != 0 {
			return err
		}
		n.now, n.resized = resize(n.now, int(size)), true
	}
	n.attr(&out.Attr)
	return 0
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if n.disk.dead {
		return nil, syscall.EIO
	}
	if off >= int64(len(n.now)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.now[off:])]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if err := n.disk.change(); err != 0 {
		return 0, err
	}
	end := off + int64(len(data))
	if end > int64(len(n.now)) {
		n.now, n.resized = resize(n.now, int(end)), true
	}
	copy(n.now[off:], data)
	for s := off / sector; s*sector < end; s++ {
		n.dirty[s] = true
	}
	return uint32(len(data)), 0
}

// Fsync makes durable what is dirty. The one that fails leaves it as if it were: readers see it, the disk never gets it.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != 0 {
		return err
	}
	if d.syncs++; d.syncs == d.eioAt {
		clear(n.dirty)
		d.cutAt += d.count
		return syscall.EIO
	}
	n.durable, n.resized = resize(n.durable, len(n.now)), false
	for s := range n.dirty {
		to := min((s+1)*sector, int64(len(n.now)))
		if from := s * sector; from < to {
			copy(n.durable[from:to], n.now[from:to])
		}
	}
	clear(n.dirty)
	return 0
}

// serve is the process of a disk. It says when it is ready, and when power was lost; then it writes what is left, and waits to be ended.
func serve(mount, from, to string, seed uint64, cutAt, eioAt int) error {
	cut := make(chan struct{})
	d := &disk{cutAt: cutAt, eioAt: eioAt, rnd: rand.New(rand.NewPCG(seed, 0))}
	d.lost = sync.OnceFunc(func() { close(cut) })
	if err := d.load(from); err != nil {
		return err
	}
	server, err := d.mount(mount)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	asked := make(chan os.Signal, 1)
	notify(asked)
	select {
	case <-cut:
	case <-asked: // a cut at another moment
	}
	for name, b := range d.survivors() {
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			return err
		}
	}
	fmt.Printf("cut %d %d\n", d.count, d.syncs)
	<-asked
	return server.Unmount()
}
