package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// words are what status endpoints call the ends of a job, in lower case with underscores. All others stand for unfinished.
var words = map[string]State{
	"succeeded": Succeeded, "success": Succeeded, "successful": Succeeded, "completed": Succeeded, "complete": Succeeded, "done": Succeeded, "finished": Succeeded,
	"failed": Failed, "failure": Failed, "error": Failed, "errored": Failed, "timed_out": Failed, "timeout": Failed, "expired": Failed, "rejected": Failed,
	"canceled": Canceled, "cancelled": Canceled, "aborted": Canceled,
}

// StateOf returns what a status word stands for: Succeeded for "completed", "done" and the like, Failed for "error", "timed_out" and the like, Canceled
// for "cancelled" and the like, whatever their case; else "".
func StateOf(word string) State {
	return words[strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(word)))]
}

// DecodeWords reads a JSON object with a word under "state" or "status" and, if there is one, a "progress": a number up to 1 is a
// fraction, one above 1 and a string with or without % are percents. An empty answer is unfinished.
func DecodeWords(s *Status) error {
	if len(s.Body) == 0 && (s.Code == http.StatusAccepted || s.Code == http.StatusNoContent) {
		return nil
	}
	var body struct {
		State    json.RawMessage `json:"state"`
		Status   json.RawMessage `json:"status"`
		Progress json.RawMessage `json:"progress"`
	}
	if err := json.Unmarshal(s.Body, &body); err != nil {
		return fmt.Errorf("client: status: %w", err)
	}
	for _, raw := range []json.RawMessage{body.State, body.Status} {
		var word string
		if json.Unmarshal(raw, &word) == nil && word != "" {
			s.Word, s.State = word, StateOf(word)
			break
		}
	}
	s.Progress = fraction(body.Progress)
	return nil
}

// fraction reads a progress; nil if it is none.
func fraction(raw json.RawMessage) *float64 {
	var n float64
	var text string
	switch {
	case string(raw) == "null":
		return nil
	case json.Unmarshal(raw, &n) == nil:
		if n > 1 {
			n /= 100
		}
	case json.Unmarshal(raw, &text) == nil:
		var err error
		if n, err = strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%")), 64); err != nil {
			return nil
		}
		n /= 100
	default:
		return nil
	}
	if !(n >= 0 && n <= 1) {
		return nil
	}
	return &n
}
