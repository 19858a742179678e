package leaks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// openFiles returns what each open descriptor of this process is of: a path, or "socket:[n]" or the like.
func openFiles() (map[string]string, error) {
	const folder = "/proc/self/fd"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	open := make(map[string]string, len(entries))
	for _, e := range entries {
		name, err := os.Readlink(filepath.Join(folder, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // that was the folder itself, while it was read
		}
		if err != nil {
			return nil, err
		}
		open[e.Name()] = name
	}
	return open, nil
}
