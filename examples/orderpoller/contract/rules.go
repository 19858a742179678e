// Package contract is what a marketplace that polls its sellers' status endpoints promises, as cases that only speak HTTP with it.
package contract

import (
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// Run runs the contract on the stores that open opens.
func Run(t *testing.T, open contract.Opener) { suite.Run(t, open) }

// The rules have the ids of the documents they come from, the shorter (S2) and the longer (S4) edition of the same page. D and an id is what has been
// decided where the documents are silent.
var suite = contract.New(
	contract.Rule{ID: "S2-01", Says: "instead of being called back, the platform asks a status endpoint of the seller's by GET"},
	contract.Rule{ID: "S2-02", Says: "it asks every 15 minutes"},
	contract.Rule{ID: "S2-03", Says: "an order's inputs are POSTed to the webhook, then its status is asked until it is completed or failed"},
	contract.Rule{ID: "S2-04", Says: "the webhook (POST) and the status endpoint (GET) are two endpoints"},
	contract.Rule{ID: "S2-05", Says: "both are sent the same configured headers; what does not carry them is not let in"},
	contract.Rule{ID: "S2-06", Says: "the status URL is HTTPS and has {order_id} in its path, which the order's id replaces as one segment"},
	contract.Rule{ID: "S2-07", Says: "file_base64 may have 50 MB, about 37 MB decoded"},
	contract.Rule{ID: "S2-08", Says: "a result_url over HTTP is rejected"},
	contract.Rule{ID: "S2-09", Says: "a large file is prepared, PUT directly, and named in the answer by its object_key"},
	contract.Rule{ID: "S4-01", Says: "the placeholder may stand anywhere in the path"},
	contract.Rule{ID: "S4-10", Says: "status is required: processing, completed or failed"},
	contract.Rule{ID: "S4-11", Says: `progress is optional, and may be "45%", 0.45 or 45`},
	contract.Rule{ID: "S4-12", Says: "a text result is result_text beside its output_type"},
	contract.Rule{ID: "S4-13", Says: "a file result is file_base64, filename and mime_type"},
	contract.Rule{ID: "S4-14", Says: "a file sent ahead is named by exactly the object_key that prepare answered"},
	contract.Rule{ID: "S4-15", Says: "a result elsewhere is a result_url"},
	contract.Rule{ID: "S4-16", Says: "a failure has an error_message"},
	contract.Rule{ID: "S4-17", Says: "output_type is text, html, json, csv, file, url, xlsx or video"},
	contract.Rule{ID: "S4-18", Says: "result_text has at most 10 MB"},
	contract.Rule{ID: "S4-19", Says: "result_url is HTTPS and public"},
	contract.Rule{ID: "S4-20", Says: "file_base64 needs filename and mime_type beside it"},
	contract.Rule{ID: "S4-21", Says: "each entry of files needs object_key, filename and mime_type"},
	contract.Rule{ID: "S4-22", Says: "error_message is for people, of at most 1024 characters"},
	contract.Rule{ID: "S4-30", Says: "the first check is after 5 minutes, the others 15 minutes apart"},
	contract.Rule{ID: "S4-31", Says: "an answer has 8 seconds"},
	contract.Rule{ID: "S4-32", Says: "after a network failure there is one retry"},
	contract.Rule{ID: "S4-33", Says: "an order times out after 10 minutes, 90 minutes or 24 hours by its ETA, and is polled no more"},
	contract.Rule{ID: "S4-34", Says: "that makes 1, 6 or 96 checks at most"},
	contract.Rule{ID: "S4-40", Says: "processing goes on; completed is delivered at once; failed is told; nothing is asked after either"},
	contract.Rule{ID: "S4-50", Says: "files are of one of 23 MIME types"},
	contract.Rule{ID: "S4-51", Says: "file_base64 may have 50 MB and not a character more"},
	contract.Rule{ID: "S4-52", Says: "a result_url over HTTP is rejected, whatever the output_type"},
	contract.Rule{ID: "D-all", Says: "401 has WWW-Authenticate, 405 Allow; unknown is 404; refusals are problems; unknown fields are ignored; no JSON is 400, too much of it 413"},
	contract.Rule{ID: "D-S2-04", Says: "any 2xx of the webhook is t = 0; no answer and 5xx are retried for 5 minutes; 4xx, or nothing by then, fails the order"},
	contract.Rule{ID: "D-S2/S4", Says: "a refusal or a broken body is the order's problem, and nothing of it is delivered; no redirect is followed; what a timeout is, progress, sizes, types"},
	contract.Rule{ID: "D-S4-12", Says: "which carriers go with which output_type; there is exactly one"},
	contract.Rule{ID: "D-S4-14", Says: "POST /prepare answers object_key, put_url and expires_at; a key that is forged or was never uploaded is a broken body"},
	contract.Rule{ID: "D-S4-22", Says: "a failed answer always fails the order: a long message is cut, a missing one replaced, with a problem"},
	contract.Rule{ID: "D-S4-33", Says: "each order that ends tells so once, signed; a repetition has the same webhook-id"},
)
