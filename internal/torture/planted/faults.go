package planted

// Faults are all there are.
var Faults = []*Fault{
	{
		Name: "no-sync", What: "commits are not synced (I1, I3)",
		File: "storage/boltstore/open.go", Old: "NoFreelistSync: true, FreelistType", New: "NoSync: true, NoFreelistSync: true, FreelistType",
		By: []string{"power"},
	},
	{
		Name: "lease-of-the-gone", What: "a job that is handed to a receiver whose client has just gone stays leased (I11)",
		File: "jobqueue/receive.go", Old: "for _, d := range r.got {", New: "for _, d := range r.got[:0] {",
		By: []string{"parked"},
	},
	{
		Name: "unwritten-answer", What: "a job whose answer the connection did not take stays leased (I11)",
		File: "httpapi/poll.go", Old: "return nil // there is nobody", New: "taken = true\n\t\treturn nil // there is nobody",
		By: []string{"parked"},
	},
	{
		Name: "place-of-the-gone", What: "a poll whose client has gone keeps its place among those that wait (threat: Parked-poll exhaustion)",
		File: "httpapi/poll.go", Old: "c.receiveOptions(p))\n\tc.rise()\n\treturn got, c.whyNone(err)", New: "c.receiveOptions(p))\n\tif err == nil {\n\t\tc.rise()\n\t}\n\treturn got, c.whyNone(err)",
		By: []string{"parked"},
	},
	{
		Name: "wake-up-of-the-gone", What: "a waiter that leaves does not pass on the signal it got (I10)",
		File: "longpoll/waiter.go", Old: "if w.signaled {\n\t\tq.signal(1)", New: "if w.signaled {\n\t\tq.signal(0)",
		Slow: true, By: []string{"duel"},
	},
	{
		Name: "told-before-the-commit", What: "callers are told that their calls are done, and then these are committed (I1, I3)",
		File: "storage/boltstore/committer.go",
		Old:  "\tif len(batch) > 0 {\n\t\ts.runAll(batch, func() []*call {\n\t\t\ts.gather()\n\t\t\tbatch = s.take(batch)\n\t\t\treturn batch\n\t\t})\n\t}\n\tfor i, c := range batch {\n",
		New: "\ttold := false\n\tif len(batch) > 0 {\n\t\ts.runAll(batch, func() []*call {\n\t\t\tfor _, c := range batch {\n\t\t\t\tc.done <- struct{}{}\n\t\t\t}\n\t\t\ttold = true\n\t\t\treturn batch\n\t\t})\n\t}\n" +
			"\tfor i, c := range batch {\n\t\tif told {\n\t\t\tcontinue\n\t\t}\n",
		By: []string{"kill", "power"},
	},
	{
		Name: "made-in-place", What: "the first open makes the file under its own name (I16)",
		File: "storage/boltstore/open.go", Old: "if err := create(path, o); err != nil {",
		New: "db, _, err := openFile(path, &bbolt.Options{Timeout: o.Timeout})\n\t\tif err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\tif err := errors.Join(db.Update(createBuckets), db.Close()); err != nil {",
		By:  []string{"syscalls", "power"},
	},
	{
		Name: "result-not-in-the-journal", What: "a result is in memory, but not in the journal's record (I1, I2)",
		File: "storage/boltstore/journal.go", Old: "case was.result == nil || !bytes.Equal(was.result, now.result):", New: "case was.result != nil && !bytes.Equal(was.result, now.result):",
		By: []string{"kill", "syscalls"},
	},
	{
		Name: "ack-not-in-the-journal", What: "that a job has ended without a result is in memory, but not in the journal's record (I3)",
		File: "storage/boltstore/journal.go", Old: "if now.Job != was.Job {", New: "if now.Job != was.Job && (!now.State.Ended() || now.result != nil) {",
		By: []string{"kill", "syscalls"},
	},
	{
		Name: "failed-sync-is-success", What: "a commit whose write or sync failed is told as done (I13)",
		File: "storage/boltstore/batch.go", Old: "err = guarded(btx.Commit)\n", New: "if err = guarded(btx.Commit); !isFull(err) {\n\t\terr = nil\n\t}\n",
		By: []string{"faults"},
	},
	{
		Name: "failed-commit-is-retried", What: "a commit whose write or sync failed is tried again in memory (I13)",
		File: "storage/boltstore/batch.go", Old: "if !isFull(err) {\n\t\treturn false", New: "if isFull(err) == isFull(nil) && err == nil {\n\t\treturn false",
		By: []string{"faults"},
	},
	{
		Name: "full-is-success", What: "a commit that did not fit is told as done (I14)",
		File: "storage/boltstore/batch.go", Old: "err = guarded(btx.Commit)\n", New: "if err = guarded(btx.Commit); isFull(err) {\n\t\terr = nil\n\t}\n",
		By: []string{"faults"},
	},
	{
		Name: "full-is-unknown", What: "a commit that did not fit fails the store (I14)",
		File: "storage/boltstore/batch.go", Old: "if s.certainlyFull(err, btx, before) {", New: "if s.certainlyFull(err, btx, before) && s.failed.Load() {",
		Slow: true, By: []string{"faults", "full"},
	},
	{
		Name: "no-reserve", What: "new jobs may use all of a file, or of the disk (I14)",
		File: "storage/boltstore/room.go", Old: "\tif r.bounded() && need > r.left {\n", New: "\tif r.more = nil; need < 0 {\n",
		By: []string{"full"},
	},
	{
		Name: "no-blocks-ahead", What: "blocks are got for no page before it is written (I14)",
		File: "storage/boltstore/room.go", Old: "\tif s.disk.able() {\n\t\ts.disk.allocated", New: "\tif limit < 0 {\n\t\ts.disk.allocated",
		By: []string{"full"},
	},
	{
		Name: "first-pages-not-settled", What: "what a failed sync has left in the first pages is gone on from (I1, I13)",
		File: "storage/boltstore/store.go", Old: "if err := settle(db); err != nil {", New: "if settle == nil {\n\t\t\tvar err error",
		Slow: true, By: []string{"cuts"},
	},
	{
		Name: "opener-waits-for-ever", What: "who opens a file that is in use waits for ever (I17)",
		File: "storage/boltstore/open.go", Old: "&bbolt.Options{Timeout: timeout, ReadOnly: true}", New: "&bbolt.Options{ReadOnly: true}",
		By: []string{"second"},
	},
	{
		Name: "bad-range-is-500", What: "a range that cannot be is answered 500 (promise 9)",
		File: "httpapi/content.go", Old: "case http.StatusRequestedRangeNotSatisfiable:", New: "case http.StatusTeapot:",
		By: []string{"requests"},
	},
	{
		Name: "bad-key-panics", What: "an Idempotency-Key of one quote panics (promise 9)",
		File: "httpapi/params.go", Old: "if len(s) < 2 || s[0] != '\"' ||", New: "if s[0] != '\"' ||",
		By: []string{"requests"},
	},
	{
		Name: "utf8-not-checked", What: "a body that is not UTF-8 is taken (promise 9)",
		File: "httpapi/body.go", Old: "case !utf8.Valid(p):", New: "case !utf8.Valid(nil):",
		By: []string{"requests"},
	},
	{
		Name: "refused-after-the-effect", What: "a progress that says nothing is refused, and has its effect (promise 9)",
		File: "httpapi/settle.go", Old: "default:\n\t\t\treturn invalid(\"progress:", New: "default:\n\t\t\tc.broker.Progress(r.Context(), j.ID, t, jobqueue.Progress{Fraction: 0.9})\n\t\t\treturn invalid(\"progress:",
		By: []string{"requests"},
	},
	{
		Name: "wall-clock-deadline", What: "a lease ends by the machine's clock, not by the store's (I5, I9)",
		File: "jobqueue/lifecycle.go", Old: "st.LeaseExpires = s.now.Add(window)", New: "st.LeaseExpires = time.Now().UTC().Add(window)",
		By: []string{"clocks"},
	},
	{
		Name: "wall-clock-read-again", What: "the wall clock is read while the store is open (I9)",
		File: "storage/boltstore/txn.go", Old: "s.clock.now()", New: "s.opts.WallClock().UTC()",
		By: []string{"clocks"},
	},
	{
		Name: "lease-not-clamped", What: "a wall clock that has gone back leaves a lease more than it was given (I9)",
		File: "storage/boltstore/clock.go", Old: "if o.TrustWallClock {", New: "if o.TrustWallClock || wall.Before(lastCommit) {",
		By: []string{"clocks"},
	},
	{
		Name: "lapse-early", What: "a lease lapses a second before its end (I5, I8)",
		File: "jobqueue/lifecycle.go", Old: "st.Due = earliest(st.LeaseExpires, st.Deadline)", New: "st.Due = earliest(st.LeaseExpires.Add(-time.Second), st.Deadline)",
		By: []string{"century", "clocks"},
	},
	{
		Name: "lapse-late", What: "the timeline wakes two seconds late (I8)",
		File: "jobqueue/timeline.go", Old: "	if t.early(due) {\n		return\n	}\n	t.mu.Lock()", New: "	due = due.Add(2 * time.Second)\n	if t.early(due) {\n		return\n	}\n	t.mu.Lock()",
		By: []string{"century"},
	},
	{
		Name: "account-not-compared", What: "a job is found whosever it is (I18)",
		File: "jobqueue/lookup.go", Old: "if !b.sees(j.Account) || j.State == storage.Staged {", New: "if j.State == storage.Staged {",
		By: []string{"tenants"},
	},
	{
		Name: "upload-account-not-compared", What: "an upload is found whosever it is (I18)",
		File: "jobqueue/upload.go", Old: "j.Key == \"\" || !b.sees(j.Account) {", New: "j.Key == \"\" {",
		By: []string{"tenants"},
	},
	{
		Name: "credentials-not-compared", What: "any bearer token is somebody's (threat: Auth bypass)",
		File: "httpapi/auth.go", Old: "subtle.ConstantTimeCompare(d.sums[i][:], sum[:])", New: "subtle.ConstantTimeCompare(d.sums[i][:0], sum[:0])",
		By: []string{"tenants", "./httpapi TestEveryRouteDemandsCredentials"},
	},
	{
		Name: "open-route", What: "one route asks for no credentials (threat: Auth bypass)",
		File: "httpapi/settle.go", Old: "Redrive(w http.ResponseWriter, r *http.Request) {\n\th.handle(w", New: "Redrive(w http.ResponseWriter, r *http.Request) {\n\th.handleOpen(w",
		By: []string{"tenants", "./httpapi TestEveryRouteDemandsCredentials"},
	},
	{
		Name: "no-directory-sync", What: "the name of a new file is not made durable (I16)",
		File: "storage/boltstore/open.go", Old: "return syncDir(dir)", New: "return nil",
		By: []string{"power"},
	},
	{
		Name: "synced-after-told", What: "callers are told when their commit is written, and it is synced after that (I1, I3)",
		File: "storage/boltstore/batch.go", Old: "err = guarded(btx.Commit)\n", New: "s.db.NoSync = true\n\terr = guarded(btx.Commit)\n\tgo s.db.Sync()\n",
		By: []string{"power", "cuts"},
	},
	{
		Name: "meta-apart", What: "the numbers of the store are written in a commit of their own, after that of what they are about (I4)",
		File: "storage/boltstore/txn.go", Old: "\treturn t.top.Put(metaKey, t.meta.append(nil))\n",
		New: "\tlate, db := t.meta.append(nil), t.btx.DB()\n\tt.btx.OnCommit(func() {\n" +
			"\t\tdb.Update(func(btx *bbolt.Tx) error { return btx.Bucket(topName).Put(metaKey, late) })\n\t})\n\treturn nil\n",
		By: []string{"power"},
	},
	{
		Name: "copy-not-synced", What: "the copy of Compact gets its name before it is durable (I25)",
		File: "storage/boltstore/backup.go", Old: "errors.Join(err, db.Sync(), db.Close()); err != nil {\n\t\treturn err\n\t}\n\tif err := publish(temp, dst)",
		New: "errors.Join(err, db.Close()); err != nil {\n\t\treturn err\n\t}\n\tif err := publish(temp, dst)",
		By:  []string{"power"},
	},
	{
		Name: "unwanted-body-awaited", What: "a body that nobody reads is awaited for ever (threat: Slowloris/slow body)",
		File: "httpapi/handler.go", Old: "c.ctl.SetReadDeadline(time.Now().Add(c.h.opts.Patience))", New: "c.ctl.SetReadDeadline(time.Time{})",
		Slow: true, By: []string{"slow"},
	},
	{
		Name: "slow-body-awaited", What: "a body that is read may take for ever (threat: Slowloris/slow body)",
		File: "httpapi/body.go", Old: "b.c.ctl.SetReadDeadline(at)", New: "b.c.ctl.SetReadDeadline(time.Time{})",
		Slow: true, By: []string{"slow"},
	},
	{
		Name: "slow-reader-awaited", What: "a client may take its answer as slowly as it likes (threat: Slowloris/slow body)",
		File: "httpapi/content.go", Old: "w.c.ctl.SetWriteDeadline(w.c.until(w.start, w.n))", New: "w.c.ctl.SetWriteDeadline(time.Time{})",
		Slow: true, By: []string{"slow"},
	},
	{
		Name: "body-without-bound", What: "a body may be as large as it likes (threat: Memory blow-up)",
		File: "httpapi/body.go", Old: "http.MaxBytesReader(c.w, r, limit)", New: "r",
		Slow: true, By: []string{"slow"},
	},
	{
		Name: "dial-not-checked", What: "the address that is dialled is not looked at (threats: SSRF, DNS rebinding)",
		File: "httpapi/outbound/client.go", Old: "dialer.Control = control", New: "_ = control",
		By: []string{"callbacks", "./httpapi/outbound TestANameThatChangesItsAddressIsFoundOutAtTheDial"},
	},
	{
		Name: "second-dial-not-checked", What: "the address is looked at in every other dial only (threat: DNS rebinding)",
		File: "httpapi/outbound/client.go", Old: "func control(network, address string, _ syscall.RawConn) error {",
		New: "var dials int\n\nfunc control(network, address string, _ syscall.RawConn) error {\n\tif dials++; dials%2 == 0 {\n\t\treturn nil\n\t}",
		By:  []string{"callbacks"},
	},
	{
		Name: "redirects-followed", What: "redirects are followed (threat: Redirect to inside)",
		File: "httpapi/outbound/client.go", Old: "{ return http.ErrUseLastResponse },\n\t\tTransport:", New: "{ return nil },\n\t\tTransport:",
		By: []string{"callbacks", "./httpapi/outbound TestARedirectIsNotFollowed"},
	},
	{
		Name: "wrapped-is-public", What: "all of IPv6 counts as public, also what wraps IPv4 (threat: SSRF)",
		File: "httpapi/outbound/address.go", Old: "netip.MustParsePrefix(\"2000::/3\")", New: "netip.MustParsePrefix(\"::/0\")",
		By: []string{"callbacks"},
	},
	{
		Name: "new-webhook-id", What: "each attempt of a callback has a webhook-id of its own (I21)",
		File: "httpapi/callback/send.go", Old: "u, d.ID.String(), body, began)", New: "u, d.ID.String()+d.Token.String(), body, began)",
		By: []string{"told", "./httpapi/callback TestAttemptsFollowTheSchedule"},
	},
	{
		Name: "acked-before-it-is-sent", What: "a callback is settled before its attempt (I21)",
		File: "httpapi/callback/send.go", Old: "limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)",
		New: "if err := d.Ack(ctx); err != nil {\n\t\treturn err\n\t}\n\tlimited, cancel := context.WithTimeout(ctx, s.opts.Timeout)",
		By:  []string{"told"},
	},
	{
		Name: "cancel-is-not-told", What: "a job that is canceled tells no outbox (I21)",
		File: "jobqueue/outbox.go", Old: "if len(j.Outbox) == 0 {", New: "if len(j.Outbox) == 0 || j.State == storage.Canceled {",
		By: []string{"told"},
	},
	{
		Name: "token-not-compared", What: "a superseded token settles a job (I6, I7)",
		File: "jobqueue/token.go", Old: "case t != AnyToken && t != j.Token:", New: "case t != AnyToken && t != j.Token && j.State.Ended():",
		By: []string{"histories", "steps", "stale"},
	},
	{
		Name: "delivery-not-counted", What: "deliveries are counted up to two only, so that MaxDeliveries is exceeded (promise 3)",
		File: "jobqueue/lifecycle.go", Old: "st.Deliveries++", New: "st.Deliveries = min(st.Deliveries+1, 2)",
		By: []string{"histories", "steps"},
	},
	{
		Name: "late-extension", What: "a lease that was extended ends when it would have without, so that a job has two (I5)",
		File: "jobqueue/lease.go", Old: ".Lease)).Truncate(time.Microsecond)\n\t\tst.Due = earliest(st.LeaseExpires, st.Deadline)", New: ".Lease)).Truncate(time.Microsecond)",
		By: []string{"histories", "steps"},
	},
	{
		Name: "job-for-a-refused-ack", What: "an ack that is refused takes the next job along nevertheless",
		File: "jobqueue/receive.go", Old: "err != nil || r.refused {", New: "err != nil {",
		By: []string{"histories", "steps"},
	},
	{
		Name: "ack-without-effect", What: "an ack of a lapsed lease is answered and not done (I3, I7)",
		File: "jobqueue/lifecycle.go", Old: "if err != nil {\n\t\treturn nil, err\n\t}\n\treturn j, s.quieted(q, limits)", New: "if settled && j.Lapses > 0 {\n\t\terr = s.set(j.With(storage.Status{State: Pending, Token: j.Token, Version: j.Version}))\n\t}\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\treturn j, s.quieted(q, limits)",
		By: []string{"steps"},
	},
	{
		Name: "last-come-first-served", What: "memstore delivers the job of the highest position first (I12)",
		File: "storage/memstore/places.go", Old: "return a.position < b.position", New: "return a.position > b.position",
		By: []string{"histories", "steps"},
	},
	{
		Name: "position-given-twice", What: "now and then two jobs get the same position (promise 5)",
		File: "storage/boltstore/txn_job.go", Old: "j.Position = q.next\n\t\tq.next++", New: "j.Position = q.next\n\t\tif q.counts[storage.Pending]%3 != 2 {\n\t\t\tq.next++\n\t\t}",
		By: []string{"histories", "steps", "stores"},
	},
	{
		Name: "index-not-updated", What: "a job that is written back has no place in the timeline of the trees (I4)",
		File: "storage/boltstore/writeback.go", Old: "rec := t.arena.next(1 + idLen + sumLen)\n", New: "rec := t.arena.next(1 + idLen + sumLen)\n\t\tif in == inDue {\n\t\t\treturn nil\n\t\t}\n",
		By: []string{"stores"},
	},
	{
		Name: "handed-without-commit", What: "a receiver that waits gets the new job though its commit failed (I2, I22)",
		File: "jobqueue/enqueue.go", Old: "if !added || i >= len(e.given) {", New: "if i >= len(e.given) {",
		By: []string{"histories"},
	},
	{
		Name: "expiry-not-signed", What: "whoever has a signed URL may prolong it (threat: Auth bypass)",
		File: "httpapi/signer.go", Old: "h.Write([]byte(expires + \"\\n\" + what))", New: "h.Write([]byte(what))",
		By: []string{"./httpapi TestNoChangedUploadURLIsTaken", "./httpapi TestASignatureIsGoodForWhatItWasMadeForUntilItsTime"},
	},
	{
		Name: "method-not-signed", What: "a URL to upload to is good for other methods, too (threat: Auth bypass)",
		File: "httpapi/uploads.go", Old: "return method + \" upload \" + id", New: "return \" upload \" + id",
		By: []string{"./httpapi TestUploadsOnPathsOfTheUsersOwn"},
	},
	{
		Name: "record-sum-not-compared", What: "the checksum of a record is not looked at (I15)",
		File: "storage/boltstore/record.go", Old: "!= sum(key, body) {", New: "!= sum(key, body) && len(body) == 0 {",
		Slow: true, By: []string{"fuzz"},
	},
	{
		Name: "length-not-checked", What: "a length in the record of a job's texts may be larger than the record (I15)",
		File: "jobqueue/beside.go", Old: "if k <= 0 || n > uint64(len(p)-k) {", New: "if k <= 0 {",
		Slow: true, By: []string{"fuzz"},
	},
	{
		Name: "private-block-missing", What: "172.16.0.0/12 is called public (threat: SSRF to metadata/LAN)",
		File: "httpapi/outbound/address.go", Old: "\"172.16.0.0/12\",", New: "",
		Slow: true, By: []string{"fuzz"},
	},
	{
		Name: "bound-missing", What: "a number in a query may be larger than its bound (promise 9; threat: Memory blow-up)",
		File: "httpapi/params.go", Old: "n < least || n > most {", New: "n < least {",
		Slow: true, By: []string{"fuzz"},
	},
	{
		Name: "client-not-watched", What: "a poll goes on when its client has gone (I11, threat: Parked-poll exhaustion)",
		File: "httpapi/poll.go", Old: "q.ReceiveMany(c.r.Context(), p.max", New: "q.ReceiveMany(context.WithoutCancel(c.r.Context()), p.max",
		Slow: true, By: []string{"proxy"},
	},
	{
		Name: "cut-body-taken", What: "a payload that is broken off is enqueued as far as it came (I2)",
		File: "httpapi/body.go", Old: "n, err := b.r.Read(p)\n", New: "n, err := b.r.Read(p)\n\tif err == io.ErrUnexpectedEOF {\n\t\terr = io.EOF\n\t}\n",
		Slow: true, By: []string{"proxy", "./httpapi TestABodyThatIsCutIsRefused"},
	},
	{
		Name: "smuggled-by-length", What: "the connection goes on after a chunked request with a length (threat: Smuggling)",
		File: "httpapi/handler.go", Old: "len(c.r.TransferEncoding) > 0 || ", New: "",
		By: []string{"./httpapi TestWhatFollowsARequestOfDoubtfulLengthIsNotHandled"},
	},
	{
		Name: "write-timeout-not-moved", What: "a poll is cut by the server's WriteTimeout (threat: Host sets WriteTimeout < poll)",
		File: "httpapi/waiting.go", Old: "c.ctl.SetWriteDeadline(time.Now().Add(d + c.h.opts.Patience))", New: "error(nil)",
		By: []string{"./httpapi TestAPollOutlivesTheWriteTimeoutOverTLS"},
	},
	{
		Name: "read-deadline-not-cleared", What: "a read deadline that somebody has set ends a poll (golang/go#70834)",
		File: "httpapi/waiting.go", Old: "func (c *call) hold() { c.ctl.SetReadDeadline(time.Time{}) }", New: "func (c *call) hold() {}",
		By: []string{"./httpapi TestAPollOutlivesAReadDeadlineOfMiddleware"},
	},
	{
		Name: "gone-is-success", What: "what a half-closed connection ended is answered 200 (I1, I3)",
		File: "httpapi/handler.go", Old: "c.h.refuse(c.w, c.r, errGone)", New: "",
		By: []string{"./httpapi TestNoSuccessIsToldToAHalfClosedClientUnlessItHappened"},
	},
	{
		Name: "query-logged", What: "the log has the query of a URL, in which signatures stand (threat: Log/metric leaks)",
		File: "httpapi/problem.go", Old: "\"path\", r.URL.Path", New: "\"path\", r.RequestURI",
		By: []string{"./httpapi TestNoSecretIsLoggedOrToldInARefusal"},
	},
	{
		Name: "download-runs", What: "a browser may show what it downloads (threat: Stored XSS on download)",
		File: "httpapi/content.go", Old: "header.Set(\"Content-Disposition\", disposition(name))", New: "_ = disposition(name)",
		By: []string{"./httpapi TestNothingThatIsDownloadedRunsInABrowser"},
	},
	{
		Name: "checksum-not-compared", What: "the checksum of a record is not compared (I15)",
		File: "storage/boltstore/record.go", Old: "if binary.LittleEndian.Uint32(rec[len(body):]) != sum(key, body) {", New: "if len(body) > len(rec) {",
		By: []string{"rot"},
	},
	{
		Name: "piece-not-compared", What: "the checksum of a piece of a large value is not compared (I15)",
		File: "storage/boltstore/large.go", Old: "if binary.LittleEndian.Uint32(piece[len(data):]) != sum(key, data) {", New: "if len(data) > len(piece) {",
		By: []string{"rot"},
	},
	{
		Name: "lock-left-behind", What: "an Open that fails over a damaged page leaves the file locked (I15, I17)",
		File: "storage/boltstore/open.go", Old: "unlock(file) // after", New: "_ = file // after",
		By: []string{"rot"},
	},
	{
		Name: "watch-stays", What: "whoever watched a job stays in the broker's memory (I19)",
		File: "jobqueue/watch.go", Old: "	delete(w.byJob[id], one)\n", New: "",
		Slow: true, By: []string{"soak"},
	},
	{
		Name: "tombstone-stays", What: "tombstones are kept a day longer than they are to be (I19)",
		File: "jobqueue/lifecycle.go", Old: "from.Add(max(keep, 0))", New: "from.Add(max(keep, 0) + 24*time.Hour)",
		Slow: true, By: []string{"soak", "clocks"},
	},
	{
		Name: "result-stays", What: "the chunks of a large result stay when the job goes (I19)",
		File: "jobqueue/lifecycle.go", Old: "[]ID{j.Blob, j.ResultBlob}", New: "[]ID{j.Blob}",
		Slow: true, By: []string{"soak"},
	},
	{
		Name: "backup-of-the-moving-file", What: "Backup copies the file while it changes, and no snapshot (I25)",
		File: "storage/boltstore/backup.go", Old: "err := s.view(context.Background(), func(r *reader) error {\n\t\t_, err := r.btx.WriteTo(w)\n\t\treturn err\n\t})",
		New: "size := int64(0)\n\terr := s.view(context.Background(), func(r *reader) error { size = r.btx.Size(); return nil })\n\tf, err2 := os.Open(s.db.Path())\n" +
			"\tif err = errors.Join(err, err2); err == nil {\n\t\tdefer f.Close()\n\t\t_, err = io.Copy(w, io.LimitReader(f, size))\n\t}",
		By: []string{"backup"},
	},
	{
		Name: "compact-without-journal", What: "Compact leaves out what is in the journal (I25)",
		File: "storage/boltstore/backup.go", Old: "if v == nil {\n", New: "if v == nil && string(k) == \"journal\" {\n\t\t\t\treturn nil\n\t\t\t}\n\t\t\tif v == nil {\n",
		By: []string{"backup"},
	},
	{
		Name: "ready-not-locked", What: "two nodes read the same pending job, and lease it both (I5)",
		File: "storage/pgstore/statements.go", Old: "s.readySkip = s.ready + \" FOR UPDATE SKIP LOCKED\"", New: "s.readySkip = s.ready",
		Apart: true, By: []string{"nodes", "nodekill"},
	},
	{
		Name: "named-not-locked", What: "two nodes change the same job, and one undoes what the other did (I3, I6, I7)",
		File: "storage/pgstore/statements.go", Old: "s.jobsSkip = s.jobs + \" FOR UPDATE SKIP LOCKED\"", New: "s.jobsSkip = s.jobs",
		Apart: true, By: []string{"nodes"},
	},
	{
		Name: "queue-version-not-compared", What: "a queue that another node has changed since it was read is written over (law 5)",
		File: "storage/pgstore/statements.go", Old: " WHERE q.qid = u.qid AND q.version = u.version RETURNING", New: " WHERE q.qid = u.qid RETURNING",
		Apart: true, By: []string{"./storage/pgstore TestAQueueThatAnotherNodeChangesMeanwhileIsReadAgain"},
	},
	{
		Name: "position-not-counted", What: "where several jobs are added at once one position is given twice (promise 5)",
		File: "storage/pgstore/statements.go", Old: "SET next = q.next + u.adds,", New: "SET next = q.next + u.adds - (u.adds > 1)::int,",
		Apart: true, By: []string{"nodes", "nodekill"},
	},
	{
		Name: "count-not-written", What: "what is added to two queues at once is counted for neither (I4)",
		File: "storage/pgstore/flush.go", Old: "	if len(qids) == 0 {\n		return\n	}\n	args :=", New: "	if len(qids) != 1 {\n		return\n	}\n	args :=",
		Apart: true, By: []string{"nodes", "nodekill"},
	},
	{
		Name: "clock-of-the-process", What: "the time is that of the node, and not of the database (I9)",
		File: "storage/pgstore/clock.go", Old: "t = t.UTC().Truncate(time.Microsecond)", New: "t = time.Now().UTC().Truncate(time.Microsecond)",
		Apart: true, By: []string{"nodes"},
	},
	{
		Name: "unknown-is-success", What: "a commit whose answer was lost is told as done (I1, I3)",
		File: "storage/pgstore/run.go", Old: "c.result = result{err: fmt.Errorf(\"%w: %w\", storage.ErrOutcomeUnknown, err)}", New: "c.result = result{}",
		Apart: true, By: []string{"nodes", "nodekill"},
	},
	{
		Name: "unknown-is-retried", What: "a commit whose answer was lost is done again (law 2)",
		File: "storage/pgstore/run.go", Old: "	case certain(err):\n", New: "	case certain(err) || judge(err) == lost:\n",
		Apart: true, By: []string{"nodes", "./storage/pgstore TestALostAnswerToACommitIsUnknownInEveryModeOfPgx"},
	},
	{
		Name: "told-before-the-commit-is-sent", What: "callers are told that their calls are done, and then these are committed (I1, I3)",
		File: "storage/pgstore/run.go", Old: "	err := t.flush(func(b *pgx.Batch) {\n", New: "	for _, c := range done {\n		c.answer()\n	}\n	done = nil\n	err := t.flush(func(b *pgx.Batch) {\n",
		Apart: true, By: []string{"nodekill", "nodes"},
	},
	{
		Name: "closed-is-certain", What: "what pgx calls safe to try again is, though the commit may have been sent (law 2)",
		File: "storage/pgstore/errors.go", Old: "pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed)", New: "pgconn.SafeToRetry(err)",
		Apart: true, By: []string{"./storage/pgstore TestALostAnswerToACommitIsUnknownInEveryModeOfPgx"},
	},
	{
		Name: "tombstone-not-found", What: "who waited for the row of a job does not find the tombstone that took its place (I3)",
		File: "storage/pgstore/fetch.go", Old: "	} else if t.mode != viewing {\n		again,", New: "	} else if t.mode != viewing && len(ids) == 0 {\n		again,",
		Apart: true, By: []string{"./storage/pgstore TestWhatTakesAJobsPlaceIsFoundByThoseWhoWaitedForIt"},
	},
	{
		Name: "remembered-not-compared", What: "what a node remembers of a job is written over what another made of it since (I3, I5, I6)",
		File: "storage/pgstore/batch.go", Old: "	if !r.guessed {\n		return nil\n	}\n	return record.AppendStatus(nil, &r.was.job.Status)", New: "	return nil",
		Apart: true, By: []string{"nodes"},
	},
}
