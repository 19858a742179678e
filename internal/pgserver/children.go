package pgserver

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// childrenOf returns the children of a process as /proc has them. Where there is none it returns nothing: then a server's children end by
// themselves, somewhat after it.
func childrenOf(pid int) []int {
	var out []int
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range folders {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if fields := stat(child); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			out = append(out, child)
		}
	}
	return out
}

// runs reports whether there is a process that has not ended, even if nobody has waited for its end yet.
func runs(pid int) bool {
	fields := stat(pid)
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

// stat returns what /proc says of a process, from its state on, which its parent follows; nothing if there is no such process.
func stat(pid int) []string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ") // a name may contain anything
	return strings.Fields(rest)
}
