package statuspoll

import (
	"fmt"
	"slices"
)

// decodeFiles reads the files of an answer, one more than the most that may be there if there are too many.
func decodeFiles(a *Answer, raw []byte, most int) (err error) {
	a.Files = []File{}
	ok := readArray(raw, func(element []byte) bool {
		var f File
		f, err = decodeFile(element, fileField(len(a.Files), ""))
		a.Files = append(a.Files, f)
		return err == nil && len(a.Files) <= most
	})
	if !ok {
		return broken(RuleType, "files", "must be an array")
	}
	return err
}

func decodeFile(p []byte, field string) (File, error) {
	var f File
	o, ok := readObject(p, func(name string) bool { return slices.Contains(fileFields, name) })
	switch {
	case !ok:
		return f, broken(RuleType, field, "must be an object")
	case len(o.twice) > 0:
		return f, broken(RuleTwice, field+"."+o.twice[0], "stands there twice")
	}
	return f, readTexts(o, field+".", fileTexts, &f)
}

// checkFiles demands that there is at least one file, and that each is named and of a type that is allowed.
func (r *Rules) checkFiles(a *Answer) error {
	switch {
	case len(a.Files) == 0:
		return broken(RuleFiles, "files", "must have an entry")
	case len(a.Files) > r.MaxFiles:
		return broken(RuleFiles, "files", "has more than %d entries", r.MaxFiles)
	}
	for i := range a.Files {
		f := &a.Files[i]
		for _, t := range fileTexts {
			if *t.of(f) == "" {
				return broken(RuleFiles, fileField(i, "."+t.name), "must be there")
			}
		}
		if err := r.checkMIMEType(fileField(i, ".mime_type"), f.MIMEType); err != nil {
			return err
		}
	}
	return nil
}

func fileField(i int, rest string) string { return fmt.Sprintf("files[%d]%s", i, rest) }
