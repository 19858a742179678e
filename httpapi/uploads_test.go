package httpapi_test

// prepare announces an upload of alice's.
func (w *world) prepare(body string) *answer {
	w.t.Helper()
	return w.do("POST", "/v1/uploads", body).want(201)
}
