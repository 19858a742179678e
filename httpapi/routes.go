package httpapi

import "net/http"

// A route is one line of the table below. OpenAPI operations have the same paths, methods and names.
type route struct {
	methods string // separated by spaces
	path    string
	name    string // of the operation in the OpenAPI document
	serve   func(h *Handler, w http.ResponseWriter, r *http.Request)
}

var table = []route{
	{"POST", "/v1/queues/{queue}/jobs", "submit", (*Handler).Submit},
	{"GET POST", "/v1/queues/{queue}/poll", "poll", (*Handler).Poll},
	{"GET HEAD", "/v1/jobs/{id}", "status", (*Handler).Status},
	{"GET HEAD", "/v1/jobs/{id}/payload", "payload", (*Handler).Payload},
	{"GET HEAD", "/v1/jobs/{id}/result", "result", (*Handler).Result},
	{"POST", "/v1/jobs/{id}/ack", "ack", (*Handler).Ack},
	{"POST", "/v1/jobs/{id}/complete", "complete", (*Handler).Complete},
	{"POST", "/v1/jobs/{id}/fail", "fail", (*Handler).Fail},
	{"POST", "/v1/jobs/{id}/release", "release", (*Handler).Release},
	{"POST", "/v1/jobs/{id}/extend", "extend", (*Handler).Extend},
	{"POST", "/v1/jobs/{id}/progress", "progress", (*Handler).Progress},
	{"POST", "/v1/jobs/{id}/cancel", "cancel", (*Handler).Cancel},
	{"POST", "/v1/jobs/{id}/redrive", "redrive", (*Handler).Redrive},
	{"POST", "/v1/acks", "ackMany", (*Handler).AckMany},
	{"GET HEAD", "/v1/queues", "queues", (*Handler).Queues},
	{"GET HEAD", "/v1/queues/{queue}", "queue", (*Handler).Queue},
	{"PUT", "/v1/queues/{queue}", "putQueue", (*Handler).PutQueue},
	{"DELETE", "/v1/queues/{queue}", "deleteQueue", (*Handler).DeleteQueue},
	{"GET HEAD", "/v1/queues/{queue}/jobs", "queueJobs", (*Handler).QueueJobs},
	{"POST", "/v1/queues/{queue}/close", "closeQueue", (*Handler).CloseQueue},
	{"POST", "/v1/queues/{queue}/purge", "purge", (*Handler).Purge},
	{"POST", "/v1/uploads", "prepareUpload", (*Handler).PrepareUpload},
	{"PUT", "/v1/uploads/{id}/{filename}", "putUpload", (*Handler).putPrepared},
	{"GET HEAD", "/v1/openapi.json", "openAPI", (*Handler).OpenAPI},
}

// routes returns what serves the table, with and without Options.Prefix before the paths. The methods are not in the patterns of the mux, since its own
// answer to a wrong one is not a problem.
func (h *Handler) routes() http.Handler {
	routes := make(map[string]http.HandlerFunc)
	for _, t := range table {
		serve := func(w http.ResponseWriter, r *http.Request) { t.serve(h, w, r) }
		routes[t.methods+" "+t.path] = serve
		routes[t.methods+" "+h.opts.Prefix+t.path] = serve
	}
	return h.Routes(routes)
}
