//go:build !linux

package leaks

// openFiles knows nothing here.
func openFiles() (map[string]string, error) { return nil, nil }
