// Package contract is the contract of the image sessions as cases that need only HTTP: what consumers see, rule by rule.
package contract

import (
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// Run runs all cases on stores that open opens.
func Run(t *testing.T, open contract.Opener) { suite.Run(t, open) }

// suite has the rules: S1 those of the document that describes the system, D those that settle what it leaves open, I those of what was added to it.
var suite = contract.New(
	contract.Rule{ID: "S1-01", Says: "GET /api/v1/sessions/{id}/poll asks for an image"},
	contract.Rule{ID: "S1-02", Says: "GET /api/v1/images/{id}/download gets its bytes"},
	contract.Rule{ID: "S1-03", Says: "POST /api/v1/images/{id}/ack acknowledges it"},
	contract.Rule{ID: "S1-04", Says: "all paths begin with /api/v1 or with /v1, as the caller likes"},
	contract.Rule{ID: "S1-05", Says: "ids are ULIDs behind sess_ and img_; an image's is its own across all sessions, and enough to download and to ack it"},
	contract.Rule{ID: "S1-06", Says: "every call carries a bearer token"},
	contract.Rule{ID: "S1-07", Says: "a wrong method is 405 and says which are right"},
	contract.Rule{ID: "S1-10", Says: "a poll answers one image that is not acknowledged, as a JSON object"},
	contract.Rule{ID: "S1-11", Says: "timeout is a number of seconds: 30 without it, and at most"},
	contract.Rule{ID: "S1-12", Says: "a timeout that is no whole number of seconds is refused"},
	contract.Rule{ID: "S1-13", Says: "a poll is held open until its timeout"},
	contract.Rule{ID: "S1-14", Says: "an image that is there, or comes during the wait, is answered at once"},
	contract.Rule{ID: "S1-15", Says: "nothing within the timeout is 204 without a body, and not before"},
	contract.Rule{ID: "S1-16", Says: "a poll answers 200, 204 or 410"},
	contract.Rule{ID: "S1-17", Says: "410 means done: closed, and no image left that is not acknowledged"},
	contract.Rule{ID: "S1-18", Says: "the answer has image_id, image_index, filename, mime_type, size_bytes, session_status and tags, all of them always"},
	contract.Rule{ID: "S1-19", Says: "it is application/json; images come in the order of their index, which never changes; the status is that of the moment"},
	contract.Rule{ID: "S1-20", Says: "polling in a loop needs nothing but the token"},
	contract.Rule{ID: "S1-30", Says: "a download has the bytes that were added, their type and their length, as often as asked for"},
	contract.Rule{ID: "S1-31", Says: "a download acknowledges nothing"},
	contract.Rule{ID: "S1-40", Says: "an ack is a POST without a body, and ends the image"},
	contract.Rule{ID: "S1-41", Says: "the ack has 5 minutes, from the poll's answer on"},
	contract.Rule{ID: "S1-42", Says: "an image that is not acknowledged is returned again"},
	contract.Rule{ID: "S1-43", Says: "each image is acknowledged by itself"},
	contract.Rule{ID: "S1-44", Says: "an acknowledged image is never polled again"},
	contract.Rule{ID: "S1-45", Says: "a late ack counts unless somebody else has been given the image since"},
	contract.Rule{ID: "S1-46", Says: "an ack can be repeated; an image that nobody was given, or that is unknown, cannot be acknowledged"},
	contract.Rule{ID: "S1-47", Says: "a poll that waits gets an image the moment its window lapses"},

	contract.Rule{ID: "D-all", Says: "401 has WWW-Authenticate; unknown and foreign are the same 404; 405 has Allow; refusals are problems with a code; " +
		"unknown JSON fields are ignored, malformed JSON is 400, too large a body 413"},
	contract.Rule{ID: "D-S1-04", Says: "both prefixes are served, for every path"},
	contract.Rule{ID: "D-S1-12", Says: "above 30 is 30; 0 answers at once; negative, fractional, not a number or given twice is 400"},
	contract.Rule{ID: "D-S1-17", Says: "until it is done a session is 204; then it is 410, for polls that wait too, for 30 days, and then 404; after the close " +
		"session_status is closed"},
	contract.Rule{ID: "D-S1-18", Says: "tags is {} when there are none; images come by ascending index, one that comes back before those after it"},
	contract.Rule{ID: "D-S1-31", Says: "a download after the ack is 410; HEAD and Range work"},
	contract.Rule{ID: "D-S1-40", Says: "an ack is 204, a second one 204; never delivered is 409 not_delivered, unknown 404"},
	contract.Rule{ID: "D-S1-42", Says: "an image in its window is hidden from every poll, and comes back when that lapses, however often"},
	contract.Rule{ID: "D-S1-45", Says: "a poll's answer has Lease-Token, Lease-Expires-In and Delivery-Attempt; an ack with a Lease-Token that is superseded " +
		"is 409 lease_lost; one without settles the latest delivery"},

	contract.Rule{ID: "I-open", Says: "POST sessions with tags, or nothing, answers 201 with session_id"},
	contract.Rule{ID: "I-add", Says: "POST images with the image as the body, or as the field file of a form, answers 201 with image_id and image_index"},
	contract.Rule{ID: "I-type", Says: "an image without a type of its own gets the one that its first bytes show"},
	contract.Rule{ID: "I-name", Says: "a filename is the last part of a path, and image if there is none"},
	contract.Rule{ID: "I-bounds", Says: "an empty image is 400, one over 64 MiB 413, one that is cut or stalls is not added at all"},
	contract.Rule{ID: "I-close", Says: "POST close answers 204, also again; a closed session takes no more: 409 queue_closed"},
	contract.Rule{ID: "I-keep", Says: "what was added, delivered and acknowledged is so after a restart"},
)
