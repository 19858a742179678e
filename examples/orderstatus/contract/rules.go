// Package contract is what an automation with a status endpoint promises to the platform that polls it, as cases that only speak HTTP with it.
package contract

import (
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// Run runs the contract on the stores that open opens.
func Run(t *testing.T, open contract.Opener) { suite.Run(t, open) }

// The rules have the ids of the documents they come from, the shorter (S2) and the longer (S4) edition of the same page. D and an id is what has been
// decided where the documents are silent. Rules that only the platform can keep are in examples/orderpoller/contract.
var suite = contract.New(
	contract.Rule{ID: "S2-03", Says: "an order's inputs come to the webhook, are worked on in the background, and its status is processing until it is completed or failed"},
	contract.Rule{ID: "S2-04", Says: "the webhook (POST) and the status endpoint (GET) are two endpoints"},
	contract.Rule{ID: "S2-05", Says: "both demand the same configured headers"},
	contract.Rule{ID: "S2-07", Says: "file_base64 has at most 50 MB, about 37 MB decoded"},
	contract.Rule{ID: "S2-08", Says: "a result_url is HTTPS"},
	contract.Rule{ID: "S2-09", Says: "a large file is prepared, PUT directly, and named in the answer by its object_key"},
	contract.Rule{ID: "S2-10", Says: "a status is answered within 8 seconds, from what is stored: by one read of the store"},
	contract.Rule{ID: "S2-11", Says: "an order is stored when the webhook answers"},
	contract.Rule{ID: "S2-12", Says: "the endpoint stays reachable as long as the work takes, says how far it is, and never processing after a failure"},
	contract.Rule{ID: "S2-13", Says: "first processing, then completed with a sample result, or failed with a message; credentials are verified"},
	contract.Rule{ID: "S2-14", Says: "all three states are 200"},
	contract.Rule{ID: "S4-10", Says: "status is always there: processing, completed or failed"},
	contract.Rule{ID: "S4-11", Says: `progress is written as "45%"`},
	contract.Rule{ID: "S4-12", Says: "a text result is result_text beside its output_type"},
	contract.Rule{ID: "S4-13", Says: "a file result is file_base64, filename and mime_type"},
	contract.Rule{ID: "S4-14", Says: "a file sent ahead is named by exactly the object_key that prepare answered"},
	contract.Rule{ID: "S4-15", Says: "a result elsewhere is a result_url"},
	contract.Rule{ID: "S4-16", Says: "a failure has an error_message"},
	contract.Rule{ID: "S4-17", Says: "output_type is text, html, json, csv, file, url, xlsx or video"},
	contract.Rule{ID: "S4-18", Says: "result_text has at most 10 MB, which are 10,000,000 bytes when writing"},
	contract.Rule{ID: "S4-19", Says: "result_url is HTTPS, and can be fetched without credentials"},
	contract.Rule{ID: "S4-20", Says: "file_base64 has filename and mime_type beside it"},
	contract.Rule{ID: "S4-21", Says: "each entry of files has object_key, filename and mime_type"},
	contract.Rule{ID: "S4-22", Says: "error_message is for people, of at most 1024 characters"},
	contract.Rule{ID: "S4-31", Says: "an answer is there within 8 seconds, whatever is being worked on"},
	contract.Rule{ID: "S4-50", Says: "files are of one of 23 MIME types"},
	contract.Rule{ID: "S4-51", Says: "file_base64 has at most 50 MB, which are 50,000,000 characters when writing"},
	contract.Rule{ID: "D-all", Says: "401 has WWW-Authenticate, 405 Allow; unknown and another's is 404; refusals are problems; unknown fields are ignored; no JSON is 400, too much of it 413"},
	contract.Rule{ID: "D-S2-04", Says: "the webhook answers 2xx when the order is stored, and takes a repeated order_id for the same order"},
	contract.Rule{ID: "D-S2/S4", Says: "an unknown order is 404, the three states are 200"},
	contract.Rule{ID: "D-S4-12", Says: "an output has exactly one carrier, one that goes with its output_type"},
	contract.Rule{ID: "D-S4-14", Says: "POST /prepare has order_id, filename, mime_type and size; the file is PUT to the put_url it answers before the order is completed"},
	contract.Rule{ID: "D-S4-22", Says: "a failed answer always has a message: a longer one is cut to 1024 characters, a missing one replaced"},
)
