package httpapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
)

// openAPI describes the routes as they are mounted at the root.
//
//go:embed openapi.json
var openAPI []byte

// openAPIFor returns the document for routes that are mounted somewhere else.
func openAPIFor(base string) []byte {
	if base == "" {
		return openAPI
	}
	url, err := json.Marshal(base)
	if err != nil { // of a string
		panic(err)
	}
	return bytes.Replace(openAPI, []byte(`"servers": [{"url": "/"}]`), append(append([]byte(`"servers": [{"url": `), url...), `}]`...), 1)
}

// OpenAPI answers the OpenAPI 3.1 document of the routes, with the Handler's own address in servers.
func (h *Handler) OpenAPI(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		c.answerText(http.StatusOK, h.api)
		return nil
	})
}
