// Package contract is what the image service promises, as cases that only speak HTTP with it.
package contract

import (
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// Run runs the contract on the stores that open opens.
func Run(t *testing.T, open contract.Opener) { suite.Run(t, open) }

// The rules have the ids of the document (S5). D and an id is what has been decided where the document is silent.
var suite = contract.New(
	contract.Rule{ID: "S5-01", Says: "edit, generate, enhance and remix are POSTed to, and by default hold the connection until the result is ready"},
	contract.Rule{ID: "S5-02", Says: "async is a bool that is false by default, which changes nothing"},
	contract.Rule{ID: "S5-03", Says: "callback_url is an optional HTTPS URL, valid only with async: true"},
	contract.Rule{ID: "S5-04", Says: "client_request_id is an optional string; the three are taken by every image endpoint"},
	contract.Rule{ID: "S5-05", Says: `async: true requires response_mode "urls"`},
	contract.Rule{ID: "S5-06", Says: `async: true with response_mode "bytes" is 422`},
	contract.Rule{ID: "S5-07", Says: "callback_url without async: true is 422"},
	contract.Rule{ID: "S5-08", Says: "an asynchronous submit is answered 202 at once, with a job_id instead of an image"},
	contract.Rule{ID: "S5-09", Says: "an asynchronous job has more time than a synchronous request"},
	contract.Rule{ID: "S5-10", Says: "402 if the balance does not do at submit; no job is made then"},
	contract.Rule{ID: "S5-11", Says: "validation comes before the balance, and both before the job"},
	contract.Rule{ID: "S5-20", Says: "a job is polled for until it has succeeded or failed"},
	contract.Rule{ID: "S5-21", Says: "what the poll answers is the truth, whatever became of the callback"},
	contract.Rule{ID: "S5-22", Says: "status is pending, running, succeeded (with download URLs) or failed (with code and message)"},
	contract.Rule{ID: "S5-23", Says: "result has the shape of the synchronous answer, with images always empty"},
	contract.Rule{ID: "S5-24", Says: "a result can be polled for 24 hours, as long as its download URL is good; then 410"},
	contract.Rule{ID: "S5-25", Says: "another account's job is 404"},
	contract.Rule{ID: "S5-26", Says: "an unknown job is 404"},
	contract.Rule{ID: "S5-27", Says: "a job that is never polled for is done and settled all the same"},
	contract.Rule{ID: "S5-30", Says: "callback_url is POSTed to when the job has ended, well or badly, with what a poll answers"},
	contract.Rule{ID: "S5-31", Says: "a callback is tried a few times"},
	contract.Rule{ID: "S5-32", Says: "a callback has X-Phota-Signature: sha256=<hex HMAC-SHA256 over the body with the account's secret>"},
	contract.Rule{ID: "S5-33", Says: "an account can fetch its secret; no callback comes before a poll knows the end, and none changes it"},
	contract.Rule{ID: "S5-40", Says: "the same client_request_id gets the original handle, no second job and no second charge"},
	contract.Rule{ID: "S5-50", Says: "the floor cost is reserved at submit, settled to the final one on success, released on failure, once per job"},
	contract.Rule{ID: "S5-60", Says: "422, 402, 404 and 410 as the table of errors has them"},

	contract.Rule{ID: "D-ALL-401", Says: "missing or bad credentials are 401 with WWW-Authenticate"},
	contract.Rule{ID: "D-ALL-404", Says: "an unknown id and another account's are answered alike"},
	contract.Rule{ID: "D-ALL-405", Says: "a wrong method is 405 with Allow"},
	contract.Rule{ID: "D-ALL-ERR", Says: "errors are problems with a stable code"},
	contract.Rule{ID: "D-ALL-400", Says: "malformed JSON is 400; unknown fields are ignored"},
	contract.Rule{ID: "D-ALL-413", Says: "a body over the limit is 413"},
	contract.Rule{ID: "D-S5-01", Says: "synchronous answers are 200 with images in base64 and no download_urls; response_mode is bytes by default, urls swaps the two"},
	contract.Rule{ID: "D-S5-05", Says: "async: true without response_mode is 422"},
	contract.Rule{ID: "D-S5-03", Says: "a callback_url that is malformed or not HTTPS is 422"},
	contract.Rule{ID: "D-S5-09", Says: "30 seconds synchronous, then 504; 10 minutes asynchronous, then failed with deadline_exceeded"},
	contract.Rule{ID: "D-S5-08", Says: `the handle is {"job_id", "status": "pending"} with Location`},
	contract.Rule{ID: "D-S5-40", Says: "a repeat is 202 with the original handle whatever endpoint and body say; ids are an account's own; a refused submit uses none up"},
	contract.Rule{ID: "D-S5-24", Says: "the 24 hours begin when the job ends; then 410 for 30 days, then 404"},
	contract.Rule{ID: "D-S5-31", Says: "up to 5 deliveries after 0, 5 s, 1 min, 8 min, 50 min, give or take 20 %; 2xx is success, 410 the end, redirects are not followed"},
	contract.Rule{ID: "D-S5-32", Says: "the hex signature is keyed with the secret's text; the Standard Webhooks one with what whsec_ encodes"},
	contract.Rule{ID: "D-S5-33", Says: `GET webhook-secret answers {"secret"} for the calling account`},
	contract.Rule{ID: "D-S5-50", Says: "cancel and expiry release; a configured balance counts only for an account that is not known yet"},
)
