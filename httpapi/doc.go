// Package httpapi serves a broker of package jobqueue over HTTP: an http.Handler for any mux.
//
//	h, err := httpapi.New(broker, &httpapi.Options{
//		Authenticate: httpapi.BearerTokens(map[string]string{token: "alice"}),
//		Prefix:       "/queue",
//	})
//	mux.Handle("/queue/", h)
//	srv.RegisterOnShutdown(h.Drain)
//
// # Routes
//
//	POST   /v1/queues/{queue}/jobs    Submit: the envelope as JSON, or any payload as it is
//	GET    /v1/queues/{queue}/poll    Poll: 200 with a job, 204 without, 410 if there will never be one
//	POST   /v1/queues/{queue}/poll    Poll too; a body with acks acks those and takes the next jobs in one step
//	GET    /v1/jobs/{id}              Status
//	GET    /v1/jobs/{id}/payload      Payload
//	GET    /v1/jobs/{id}/result       Result
//	POST   /v1/jobs/{id}/ack          Ack; and likewise complete, fail, release, extend, progress, cancel, redrive
//	POST   /v1/acks                   AckMany
//	GET    /v1/queues                 Queues
//	GET    /v1/queues/{queue}         Queue; PUT is PutQueue, DELETE is DeleteQueue
//	GET    /v1/queues/{queue}/jobs    QueueJobs
//	POST   /v1/queues/{queue}/close   CloseQueue
//	POST   /v1/queues/{queue}/purge   Purge
//	POST   /v1/uploads                PrepareUpload
//	PUT    /v1/uploads/{id}/{file}    PutUpload: with a signed URL, no credentials
//	GET    /v1/openapi.json           OpenAPI: all of this in detail, for programs
//
// Every endpoint is also a method of [Handler] that reads the path values "queue" and "id", so that a server can lay out paths of its own. Options
// shape the jobs and errors it answers; [Handler.SubmitFunc] and [Handler.Func] are for bodies and endpoints of its own. An id that the other side
// chose is a key: look the job up with jobqueue.Broker.JobByKey and hand it on with http.Request.SetPathValue.
//
// An http.ServeMux in front cleans paths ("//", "/./") by redirecting before the Handler sees them, and a queue named only "/" cannot be reached over
// HTTP.
//
// # Who may do what
//
// [Options.Authenticate] says whose a request is. An account sees its own queues and jobs; what is somebody else's is answered like what never was.
// [Options.Authorize] may refuse more: a producer is not a consumer is not an operator. Cross-origin requests are the business of the server: without
// CORS headers of its own a browser lets none read an answer, and where credentials are cookies http.CrossOriginProtection belongs in front.
//
// # Waiting
//
// A poll that waits costs a goroutine and its connection, and no look at the store. It outlives the server's WriteTimeout, which is moved by
// http.ResponseController; where middleware wraps the ResponseWriter without an Unwrap method the wait ends a second before it. How many wait is
// bounded by [Options.MaxPolls] and [Options.MaxPollsPerAccount].
//
// The server should have a ReadHeaderTimeout and a MaxHeaderBytes; bodies, and clients that are slow to send or to read, are bounded here.
//
// # Uploads
//
// A result can be sent ahead, by somebody who has no credentials: PrepareUpload answers a URL to PUT it to, which is signed and expires, and an
// object_key. Complete takes that in place of a result. Servers with a protocol of their own prepare uploads themselves (jobqueue.Queue.Prepare), give
// out [Handler.UploadURL] and mount [Handler.PutUpload]; a [Signer] signs other URLs.
//
// # Shutdown
//
// The order is server, broker, store: http.Server.Shutdown with [Handler.Drain] registered, so that it need not wait for polls, then
// jobqueue.Broker.Shutdown, then the store's Close.
package httpapi
