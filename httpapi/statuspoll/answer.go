package statuspoll

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
)

// The values of Answer.Status.
const (
	Processing = "processing" // ask again
	Completed  = "completed"
	Failed     = "failed"
)

// An Answer is what a status endpoint answers. A field that is empty is not there. As JSON it has the names of the wire, and its progress is "45%".
type Answer struct {
	Status   string
	Progress *float64 // of a processing order, from 0 to 1; nil if it does not say

	// Of a completed order: what the output is, and exactly one carrier of it: ResultText, ResultURL, FileBase64 (with Filename and MIMEType) or Files.
	OutputType string
	ResultText string
	ResultURL  string
	FileBase64 string
	Filename   string
	MIMEType   string
	Files      []File

	ErrorMessage string // of a failed order, for people

	// Problem is not on the wire. Rules.Read says in it what was wrong with the message of a failed order, which it mends: "" if nothing.
	Problem string
}

// A File refers to content that was uploaded ahead.
type File struct {
	ObjectKey string `json:"object_key"`
	Filename  string `json:"filename"`
	MIMEType  string `json:"mime_type"`
}

// MarshalJSON writes the answer as it is sent. It does not check it: Rules.Check does.
func (a Answer) MarshalJSON() ([]byte, error) {
	w := struct {
		Status       string `json:"status"`
		Progress     string `json:"progress,omitempty"`
		OutputType   string `json:"output_type,omitempty"`
		ResultText   string `json:"result_text,omitempty"`
		ResultURL    string `json:"result_url,omitempty"`
		FileBase64   string `json:"file_base64,omitempty"`
		Filename     string `json:"filename,omitempty"`
		MIMEType     string `json:"mime_type,omitempty"`
		Files        []File `json:"files,omitempty"`
		ErrorMessage string `json:"error_message,omitempty"`
	}{
		Status: a.Status, OutputType: a.OutputType, ResultText: a.ResultText, ResultURL: a.ResultURL, FileBase64: a.FileBase64,
		Filename: a.Filename, MIMEType: a.MIMEType, Files: a.Files, ErrorMessage: a.ErrorMessage,
	}
	if a.Progress != nil {
		w.Progress = percent(*a.Progress)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // six bytes for each of the many < of a page
	if err := enc.Encode(&w); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON reads an answer of any of the forms that Rules.Read takes. It demands that the fields are of their types, and no more.
func (a *Answer) UnmarshalJSON(p []byte) error {
	read, err := decode(p, math.MaxInt)
	if err == nil {
		*a = *read
	}
	return err
}

// A textField is a field that is a string.
type textField[T any] struct {
	name string
	of   func(*T) *string
}

// What an answer has besides status, by its status, and the fields of a file.
var (
	completedTexts = []textField[Answer]{
		{"output_type", func(a *Answer) *string { return &a.OutputType }},
		{"result_text", func(a *Answer) *string { return &a.ResultText }},
		{"result_url", func(a *Answer) *string { return &a.ResultURL }},
		{"file_base64", func(a *Answer) *string { return &a.FileBase64 }},
		{"filename", func(a *Answer) *string { return &a.Filename }},
		{"mime_type", func(a *Answer) *string { return &a.MIMEType }},
	}
	fileTexts = []textField[File]{
		{"object_key", func(f *File) *string { return &f.ObjectKey }},
		{"filename", func(f *File) *string { return &f.Filename }},
		{"mime_type", func(f *File) *string { return &f.MIMEType }},
	}
	answerFields = append([]string{"status", "progress", "files", "error_message"}, names(completedTexts)...)
	fileFields   = names(fileTexts)
)

func names[T any](fields []textField[T]) (out []string) {
	for _, f := range fields {
		out = append(out, f.name)
	}
	return out
}

// readTexts sets the text fields of v to what the object has.
func readTexts[T any](o object, prefix string, fields []textField[T], v *T) error {
	for _, f := range fields {
		raw, there := o.members[f.name]
		if !there {
			continue
		}
		s, ok := readString(raw)
		if !ok {
			return broken(RuleType, prefix+f.name, "must be a string")
		}
		*f.of(v) = s
	}
	return nil
}

// decode reads the fields that belong to an answer's status, of files one more than maxFiles at most. An error is a *RuleError.
func decode(p []byte, maxFiles int) (*Answer, error) {
	if !json.Valid(p) {
		return nil, broken(RuleJSON, "", "must be one JSON object, of which nothing is cut off and behind which nothing stands")
	}
	o, ok := readObject(p, func(name string) bool { return slices.Contains(answerFields, name) })
	if !ok {
		return nil, broken(RuleJSON, "", "must be a JSON object")
	}
	a := new(Answer)
	if raw, there := o.members["status"]; there {
		a.Status, _ = readString(raw)
	}
	switch {
	case slices.Contains(o.twice, "status"):
		return nil, broken(RuleTwice, "status", "stands there twice")
	case len(o.twice) > 0 && a.Status != Failed:
		return nil, broken(RuleTwice, o.twice[0], "stands there twice")
	}
	switch a.Status {
	case Processing:
		return a, decodeProcessing(a, o)
	case Completed:
		return a, decodeCompleted(a, o, maxFiles)
	case Failed:
		decodeFailed(a, o)
		return a, nil
	}
	return nil, broken(RuleStatus, "status", mustBeStatus)
}

// mustBeStatus is the problem of a status that is none.
const mustBeStatus = `must be "processing", "completed" or "failed"`

func decodeProcessing(a *Answer, o object) (err error) {
	if raw, there := o.members["progress"]; there {
		a.Progress, err = readProgress(raw)
	}
	return err
}

func decodeCompleted(a *Answer, o object, maxFiles int) error {
	if err := readTexts(o, "", completedTexts, a); err != nil {
		return err
	}
	raw, there := o.members["files"]
	if !there {
		return nil
	}
	return decodeFiles(a, raw, maxFiles)
}

// decodeFailed reads the message. What it cannot read is said in Problem.
func decodeFailed(a *Answer, o object) {
	raw, there := o.members["error_message"]
	if !there {
		return
	}
	var ok bool
	if a.ErrorMessage, ok = readString(raw); !ok {
		a.Problem = "error_message was not a string"
	} else if slices.Contains(o.twice, "error_message") {
		a.Problem = "error_message stood there twice"
	}
}
