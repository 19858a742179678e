package statuspoll

import "errors"

var errNotYet = errors.New("statuspoll: not implemented")

// Rules say which answers are sound. Reading and Writing return sets of them, each one's own to change.
type Rules struct {
	MaxBody   int64 // bytes of a whole answer
	MaxText   int   // bytes of result_text
	MaxBase64 int   // characters of file_base64
	MaxFiles  int   // entries of files
	MaxError  int   // characters of error_message

	// OutputTypes are the values of output_type, each with the carriers that it may have.
	OutputTypes map[string][]string
	// MIMETypes are the values that mime_type may have, in lower case and without parameters.
	MIMETypes []string
}

// Reading returns the rules for the answers of others, with limits of 10 * 2^20 bytes of text and 50 * 2^20 characters of base64.
func Reading() Rules { return Rules{} }

// Writing returns the rules for answers of one's own, with limits of 10,000,000 and 50,000,000, which those of all readers allow.
func Writing() Rules { return Rules{} }

// Read reads an answer. Its error is a *RuleError. A failed answer that can be read breaks no rule: an error_message over MaxError is cut, and one that
// is missing, or no text, is replaced; Answer.Problem then says so.
func (r *Rules) Read(body []byte) (*Answer, error) { return nil, errNotYet }

// Check checks an answer that is to be written. Its error is a *RuleError. The message of a failed answer must be there and not be over MaxError.
func (r *Rules) Check(a *Answer) error { return errNotYet }

// A RuleError says which rule an answer breaks.
type RuleError struct {
	Rule    string // a word for programs: one of the Rule constants, or a hook's own
	Field   string // as on the wire: "files[2].mime_type"; "" for the whole body
	Problem string // for people; nothing of the answer's content is in it
}

func (e *RuleError) Error() string { return e.Field + ": " + e.Problem }
