// Package contract holds the rules of the compressor's API, and the cases that show them.
package contract

import (
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

var suite = contract.New(
	contract.Rule{ID: "all", Says: "refusals are problems; 401 has challenges, 405 has Allow; 404 for unknown and foreign alike; malformed 400, too large 413; unknown fields ignored"},
	contract.Rule{ID: "S3-01", Says: "polling is plain repeated reading of a status: no status request is held"},
	contract.Rule{ID: "S3-02", Says: "a file, or the URL of one, is submitted and answered at once: 202, Location, {id, status enqueued}, the id a UUID; with Prefer: wait the result"},
	contract.Rule{ID: "S3-03", Says: "a job's status is at GET /1.0/jobs/{id}"},
	contract.Rule{ID: "S3-04", Says: "the status answer has the current status and, once there is one, the result"},
	contract.Rule{ID: "S3-05", Says: "until the job has ended the answer has id and status and nothing else"},
	contract.Rule{ID: "S3-06", Says: "a completed answer has url, input and output, each with name, type, format, mime, size, sha1, and the bytes at url are those of output"},
	contract.Rule{ID: "S3-07", Says: "the result has the same shape whether it was waited for or polled"},
	contract.Rule{ID: "S3-08", Says: "a failed answer is 200 with success false, id, status, message; what is not JSON is answered 400 with that body, whose id can be polled"},
	contract.Rule{ID: "S3-09", Says: "enqueued, processing, then completed or failed, and never back; clients take unknown words for unfinished"},
	contract.Rule{ID: "S3-10", Says: "clients wait 1 to 2 seconds at first, then longer and longer, and stop when the job has ended"},
	contract.Rule{ID: "S3-11", Says: "Retry-After, in whole seconds, is on each answer of an unfinished job and on no other; clients respect it, as seconds and as a date"},
	contract.Rule{ID: "S3-12", Says: "HTTP Basic and Bearer are good for every endpoint, and nothing else is needed"},
	contract.Rule{ID: "S3-13", Says: "asking changes nothing, and final answers repeat to the byte; clients survive failures of the network"},
	contract.Rule{ID: "S3-14", Says: "unknown and foreign jobs are 404; a job is kept for its retention, then 410 for a week, then 404"},

	contract.Rule{ID: "OWN-1", Says: "JPEG and PNG are encoded anew, everything else is gzipped; an image that would grow is left as it is"},
	contract.Rule{ID: "OWN-2", Says: "whoever has the URL of an output may fetch it, with Range and HEAD, until the job is gone"},
	contract.Rule{ID: "OWN-3", Says: "what is wrong with a file fails its job with a message; failures of the network are tried a few times first"},
	contract.Rule{ID: "OWN-4", Says: "files are fetched from public addresses only, and no redirect is followed"},
	contract.Rule{ID: "OWN-5", Says: "a file may have 64 MiB, and an image 40 million pixels"},
)

// Run checks all rules over a store.
func Run(t *testing.T, open contract.Opener) { suite.Run(t, open) }
