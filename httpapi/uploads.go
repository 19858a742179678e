package httpapi

import (
	"net/http"

	"github.com/pollackq/pollack/jobqueue"
)

// PrepareUpload announces content that is to be sent ahead.
func (h *Handler) PrepareUpload(w http.ResponseWriter, r *http.Request) {
	h.refuse(w, r, errInternal)
}

// PutUpload takes the content of an upload whose URL was signed.
func (h *Handler) PutUpload(w http.ResponseWriter, r *http.Request) {
	h.refuse(w, r, errInternal)
}

// UploadURL returns a URL for PutUpload on a path of the user's own: the path with a signed query, good until the upload expires.
func (h *Handler) UploadURL(u *jobqueue.Upload, path string) string {
	return path
}
