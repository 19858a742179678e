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
// CORS headers of its own a browser lets none read an answer. Where credentials are cookies http.CrossOriginProtection belongs in front; since that lets
// every GET pass, and a GET of a poll takes jobs, [Handler.Poll] is then to be mounted for POST alone.
//
// # Waiting
//
// A poll that waits costs a goroutine and its connection, and no look at the store. It outlives the server's WriteTimeout, which is moved by
// http.ResponseController; where middleware wraps the ResponseWriter without an Unwrap method the wait ends a second before it. How many wait is
// bounded by [Options.MaxPolls] and [Options.MaxPollsPerAccount].
//
// # The server
//
// Bodies, and clients that are slow to send or to take them, are bounded here, by [Options.Patience]; a ReadTimeout or WriteTimeout is not needed. What
// comes before a request is the server's to bound, as are connections on which none comes:
//
//	srv := &http.Server{
//		Handler:           mux,
//		ReadHeaderTimeout: 10 * time.Second,
//		IdleTimeout:       2 * time.Minute,
//		MaxHeaderBytes:    16 << 10,
//		HTTP2:             &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
//	}
//
// Without an IdleTimeout a client that has been answered may stay for ever, and on HTTP/2 one that never finishes a header too; without pings one whose
// host went silent keeps its polls parked until they end. The memory of a connection that sends JSON is bounded by [Options.MaxBody].
//
// A proxy in front must give a poll more time than it waits ([Options.MaxWait]), and must tell when the client has gone. For nginx:
//
//	location /queue/ {
//		proxy_pass http://127.0.0.1:8080;
//		proxy_http_version 1.1;
//		proxy_set_header Connection "";   # with keepalive in the upstream block connections are used again
//		proxy_read_timeout 90s;           # MaxWait and Patience, and some more
//		proxy_buffering off;              # nginx takes no answer that its client does not take
//		proxy_request_buffering off;      # bodies are not first written to nginx's disk
//		client_max_body_size 64m;         # the broker's MaxPayload
//	}
//
// proxy_ignore_client_abort stays off. Where nginx gives up earlier its client is answered 504, and no job is lost or counted as delivered; one whose
// answer nginx took, and could not pass on, comes again when its lease lapses. With proxy_request_buffering on, Patience is with nginx, and how long a
// client may send is bounded by client_body_timeout.
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
