package power

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// A stage is a folder into which states are put, one after the other. A file that was put there before is not written anew: only where
// it differs.
type stage struct {
	dir   string // where the names are
	aside string // where each file has another name, which stays
	disk  *disk
	files map[*file]*os.File
	there map[string]*file
}

func newStage(dir string, d *disk) (*stage, error) {
	s := &stage{disk: d, files: make(map[*file]*os.File), there: make(map[string]*file)}
	s.dir, s.aside = filepath.Join(dir, "names"), filepath.Join(dir, "files")
	return s, errors.Join(os.MkdirAll(s.dir, 0o700), os.MkdirAll(s.aside, 0o700))
}

func (s *stage) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// untouched is the time of the last change that files are given, so that any change shows.
var untouched = time.Unix(1_000_000_000, 0)

// put makes the folder be as a state says.
func (s *stage) put(st *state) error {
	for name, f := range s.there {
		if st.names[name] != f {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
			delete(s.there, name)
		}
	}
	for f, l := range st.left {
		if err := s.lay(f, l); err != nil {
			return err
		}
	}
	for name, f := range st.names {
		if s.there[name] == nil {
			if err := os.Link(s.files[f].Name(), filepath.Join(s.dir, name)); err != nil {
				return err
			}
			s.there[name] = f
		}
	}
	return nil
}

// lay writes what differs from the image.
func (s *stage) lay(f *file, l *layer) error {
	out := s.files[f]
	if out == nil {
		var err error
		if out, err = os.Create(filepath.Join(s.aside, fmt.Sprint(f.number))); err != nil {
			return err
		}
		s.files[f] = out
		if err := s.whole(f); err != nil {
			return err
		}
	}
	for number, page := range l.pages {
		if _, err := out.WriteAt(page[:min(pageSize, l.size-number*pageSize)], number*pageSize); err != nil {
			return err
		}
	}
	if err := out.Truncate(l.size); err != nil {
		return err
	}
	return os.Chtimes(out.Name(), untouched, untouched)
}

// whole writes the image of a file.
func (s *stage) whole(f *file) error {
	out, m := s.files[f], s.disk.files[f].durable
	n := min(int64(len(m.flat)), m.size)
	if err := out.Truncate(n); err != nil {
		return err
	}
	if _, err := out.WriteAt(m.flat[:n], 0); err != nil {
		return err
	}
	return out.Truncate(m.size)
}

// takeBack undoes put, and whatever was done to the files since.
func (s *stage) takeBack(st *state) error {
	for f, l := range st.left {
		out, m := s.files[f], s.disk.files[f].durable
		info, err := out.Stat()
		if err != nil {
			return err
		}
		if !info.ModTime().Equal(untouched) || l.size < m.size {
			if err := s.whole(f); err != nil {
				return err
			}
			continue
		}
		if err := out.Truncate(m.size); err != nil {
			return err
		}
		for number := range l.pages {
			if err := s.page(f, number); err != nil {
				return err
			}
		}
	}
	// A store was made where there was none, or what an earlier making of one had left was removed.
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	found := make(map[string]bool, len(entries))
	for _, e := range entries {
		if found[e.Name()] = true; s.there[e.Name()] == nil {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	maps.DeleteFunc(s.there, func(name string, _ *file) bool { return !found[name] })
	return err
}

// page writes a page of the image, as far as it is within the file.
func (s *stage) page(f *file, number int64) error {
	m := s.disk.files[f].durable
	n := min(pageSize, m.size-number*pageSize)
	if n <= 0 {
		return nil
	}
	_, err := s.files[f].WriteAt(m.page(number)[:n], number*pageSize)
	return err
}

// durable follows a change of an image.
func (s *stage) durable(c *change) error {
	out := s.files[c.file]
	if out == nil {
		return nil
	}
	for _, number := range c.pages {
		if err := s.page(c.file, number); err != nil {
			return err
		}
	}
	return out.Truncate(s.disk.files[c.file].durable.size)
}
