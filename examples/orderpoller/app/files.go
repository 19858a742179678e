package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	orderTag    = "order_id" // of an upload
	maxFileName = 100        // bytes, of what is taken into an object key

	// keepUploads is for how long the files of an accepted answer are kept: as long as the order, which is there until its event has been delivered.
	keepUploads = retention + 8*24*time.Hour
)

// prepare takes POST /prepare: a file that the seller will send ahead of the answer that it belongs to. The object_key that it answers is good for that
// order alone.
func (a *App) prepare(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	var body struct {
		OrderID  string `json:"order_id"`
		Filename string `json:"filename"`
		MIMEType string `json:"mime_type"`
		Size     int64  `json:"size"`
	}
	if err := a.sellers.ReadJSON(w, r, &body); err != nil {
		return err
	}
	switch {
	case !soundOrderID(body.OrderID):
		return errOrderID
	case body.Filename == "":
		return &jobqueue.InvalidError{Field: "filename", Problem: "must be there"}
	case !acceptedType(body.MIMEType):
		return &jobqueue.InvalidError{Field: "mime_type", Problem: fmt.Sprintf("must be one of %s", strings.Join(statuspoll.Reading().MIMETypes, ", "))}
	case body.Size < 1:
		return &jobqueue.InvalidError{Field: "size", Problem: "must be the number of bytes of the file, which is not empty"}
	}
	s, err := a.poller.Order(r.Context(), body.OrderID)
	switch {
	case errors.Is(err, jobqueue.ErrGone) || err == nil && s.State != statuspoll.OrderProcessing:
		return conflict("order_ended", "the order has ended, so it takes no more files")
	case err != nil:
		return err
	}
	u, err := a.prepareUpload(r.Context(), jobqueue.NewUpload{
		Name: safeName(body.Filename), ContentType: body.MIMEType, Size: body.Size, Tags: map[string]string{orderTag: body.OrderID}, Expires: a.uploadTime,
	})
	if err != nil {
		return err
	}
	return a.sellers.WriteJSON(w, r, http.StatusOK, struct {
		ObjectKey string    `json:"object_key"`
		PutURL    string    `json:"put_url"`
		Expires   time.Time `json:"expires_at"`
	}{u.Key, a.config.BaseURL + a.sellers.UploadURL(u, putPath), u.Expires})
}

// prepareUpload gives the upload an object key that no other has: orders/<order>/<yyyymmdd>-<6 hex>-<filename>.
func (a *App) prepareUpload(ctx context.Context, n jobqueue.NewUpload) (*jobqueue.Upload, error) {
	for {
		var lot [3]byte
		rand.Read(lot[:]) // never fails
		n.Key = fmt.Sprintf("orders/%s/%s-%x-%s", n.Tags[orderTag], time.Now().UTC().Format("20060102"), lot, n.Name)
		u, err := a.broker.Queue(uploadQueue).Prepare(ctx, n)
		if !errors.Is(err, jobqueue.ErrKeyReused) {
			return u, err
		}
	}
}

// objectKey is statuspoll's hook: it demands that the file was prepared for that order, and has been uploaded.
func (a *App) objectKey(ctx context.Context, orderID string, f statuspoll.File) error {
	u, err := a.upload(ctx, f.ObjectKey)
	switch {
	case err != nil:
		return err
	case u.Tags[orderTag] != orderID:
		return errNotPrepared
	case !u.Written:
		return errors.New("was prepared, but never uploaded")
	}
	return nil
}

// accepted is statuspoll's hook: it keeps the files of an answer.
func (a *App) accepted(ctx context.Context, _ string, answer *statuspoll.Answer) error {
	for _, f := range answer.Files {
		u, err := a.upload(ctx, f.ObjectKey)
		if err == nil {
			_, err = a.broker.KeepUpload(ctx, u.ID, keepUploads)
		}
		if errors.Is(err, jobqueue.ErrNotFound) { // its time is over just now
			err = errNotPrepared
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNotPrepared = errors.New("was not prepared for this order")

func (a *App) upload(ctx context.Context, objectKey string) (*jobqueue.Upload, error) {
	u, err := a.broker.UploadByKey(ctx, jobqueue.QueueName{Name: uploadQueue}, objectKey)
	if errors.Is(err, jobqueue.ErrNotFound) || errors.Is(err, jobqueue.ErrInvalid) {
		return nil, errNotPrepared
	}
	return u, err
}

// file answers GET /orders/{id}/files?object_key=KEY with a file of a completed order, for a browser to save.
func (a *App) file(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
	s, err := a.poller.Order(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	u, err := a.upload(r.Context(), r.URL.Query().Get("object_key"))
	switch {
	case errors.Is(err, errNotPrepared) || err == nil && (s.State != statuspoll.OrderCompleted || u.Tags[orderTag] != s.ID || !u.Written):
		return jobqueue.ErrNotFound
	case err != nil:
		return err
	}
	content, err := a.broker.OpenUpload(r.Context(), u.ID)
	if err != nil {
		return err
	}
	defer content.Close()
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": u.Name}))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	stream(w, r, http.StatusOK, u.ContentType, content.Size(), content)
	return nil
}

// acceptedType reports whether files may be of that type, whatever its parameters and its case.
func acceptedType(mimeType string) bool {
	kind, _, _ := strings.Cut(mimeType, ";")
	return slices.Contains(statuspoll.Reading().MIMETypes, strings.ToLower(strings.TrimSpace(kind)))
}

// safeName returns what of a file name can stand in an object key without meaning anything there: its last part, with a dash for each character that is
// neither letter, digit, dot nor underscore, shortened in front of the extension.
func safeName(s string) string {
	s = strings.ToValidUTF8(s[strings.LastIndexAny(s, `/\`)+1:], "-")
	s = strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("._-", c) {
			return c
		}
		return '-'
	}, s)
	if ext := path.Ext(s); len(s) > maxFileName && len(ext) <= maxFileName/4 {
		s = firstBytes(s, maxFileName-len(ext)) + ext
	}
	if s = firstBytes(s, maxFileName); strings.Trim(s, ".-") == "" {
		return "file"
	}
	return s
}

// firstBytes cuts a text to at most n bytes, between two characters.
func firstBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
