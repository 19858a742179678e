package main

import (
	"context"
	"os"
	"path/filepath"
)

// A syncer overwrites one block of a preallocated file and syncs it: the least that a write which survives a loss of power can cost.
type syncer struct {
	file   *os.File
	block  []byte
	remove func()
}

func newSyncer(r *run) (*syncer, error) {
	dir, remove, err := r.temp()
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		remove()
		return nil, err
	}
	s := &syncer{file: f, block: make([]byte, 4096), remove: remove}
	if err := s.fill(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *syncer) fill() error {
	for range 256 {
		if _, err := s.file.Write(s.block); err != nil {
			return err
		}
	}
	return s.file.Sync()
}

func (s *syncer) cycle(context.Context, *caller) error {
	if _, err := s.file.WriteAt(s.block, 7*int64(len(s.block))); err != nil {
		return err
	}
	return fdatasync(s.file)
}

func (s *syncer) close() error {
	defer s.remove()
	return s.file.Close()
}
