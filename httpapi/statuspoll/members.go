package statuspoll

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// An object is what was asked for of a JSON object: the members of some names, as they stand in the text. A member that is null is left out.
type object struct {
	members map[string][]byte
	twice   []string // names that stand there more than once; the last that is not null counts
}

// readObject finds members by their exact names. The text is valid JSON; ok says whether it is an object. Nothing of it is copied: encoding/json alone
// would take "STATUS" for "status", the last of several, and twice the memory.
func readObject(p []byte, wanted func(name string) bool) (o object, ok bool) {
	i := skipSpace(p, 0)
	if p[i] != '{' {
		return o, false
	}
	o.members = make(map[string][]byte)
	seen := make(map[string]bool)
	for i = skipSpace(p, i+1); p[i] != '}'; {
		if p[i] == ',' {
			i = skipSpace(p, i+1)
		}
		end := endOf(p, i)
		key := p[i:end]
		i = skipSpace(p, skipSpace(p, end)+1) // over the colon
		end = endOf(p, i)
		value := p[i:end]
		i = skipSpace(p, end)
		name, _ := readString(key)
		if !wanted(name) {
			continue
		}
		if seen[name] {
			o.twice = append(o.twice, name)
		}
		seen[name] = true
		if string(value) != "null" {
			o.members[name] = value
		}
	}
	return o, true
}

// readArray calls each with the elements of a JSON array, until it returns false. The text is valid JSON; ok says whether it is an array.
func readArray(p []byte, each func(element []byte) bool) (ok bool) {
	i := skipSpace(p, 0)
	if p[i] != '[' {
		return false
	}
	for i = skipSpace(p, i+1); p[i] != ']'; {
		if p[i] == ',' {
			i = skipSpace(p, i+1)
		}
		end := endOf(p, i)
		if !each(p[i:end]) {
			break
		}
		i = skipSpace(p, end)
	}
	return true
}

// readString returns the value of a JSON string.
func readString(p []byte) (s string, ok bool) {
	switch {
	case p[0] != '"':
		return "", false
	case bytes.IndexByte(p, '\\') < 0 && utf8.Valid(p):
		return string(p[1 : len(p)-1]), true
	}
	return s, json.Unmarshal(p, &s) == nil
}

func skipSpace(p []byte, i int) int {
	for p[i] == ' ' || p[i] == '\t' || p[i] == '\n' || p[i] == '\r' {
		i++
	}
	return i
}

// endOf returns where the value that begins at i ends.
func endOf(p []byte, i int) int {
	switch p[i] {
	case '"':
		return endOfString(p, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch p[i] {
			case '"':
				i = endOfString(p, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(p) && !isDelimiter(p[i]) {
		i++
	}
	return i
}

func endOfString(p []byte, i int) int {
	for i++; p[i] != '"'; i++ {
		if p[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func isDelimiter(c byte) bool {
	switch c {
	case ',', '}', ']', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}
