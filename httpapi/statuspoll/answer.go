package statuspoll

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
