package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// A worker has its result uploaded by somebody who has no credentials, and completes its job with the object key.
func ExampleHandler_PrepareUpload() {
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{AllowAnonymous: true, SigningKey: []byte("of 16 random bytes, or more")}))
	call(h, "POST", "/v1/queues/films/jobs", `{"payload":"a cat"}`)
	var job struct {
		ID    string `json:"id"`
		Token string `json:"lease_token"`
	}
	json.Unmarshal(call(h, "POST", "/v1/queues/films/poll", "").Body.Bytes(), &job)

	var upload struct {
		ObjectKey string `json:"object_key"`
		PutURL    string `json:"put_url"`
	}
	prepared := call(h, "POST", "/v1/uploads", `{"filename":"cat.mp4","content_type":"video/mp4","size":6}`)
	json.Unmarshal(prepared.Body.Bytes(), &upload)
	fmt.Println(prepared.Code, strings.HasSuffix(upload.ObjectKey, "/cat.mp4"))
	fmt.Println(call(h, "PUT", upload.PutURL, "frames", "Content-Type: video/mp4").Code)
	fmt.Println(call(h, "PUT", upload.PutURL, "others", "Content-Type: video/mp4").Code) // once

	body, _ := json.Marshal(map[string]string{"lease_token": job.Token, "object_key": upload.ObjectKey})
	fmt.Println(call(h, "POST", "/v1/jobs/"+job.ID+"/complete", string(body)).Body)
	fmt.Println(call(h, "GET", "/v1/jobs/"+job.ID+"/result", "").Body)
	// Output:
	// 201 true
	// 204
	// 409
	// {"outcome":"acked"}
	// frames
}

// A protocol with its own way to prepare, and its own names.
func ExampleHandler_UploadURL() {
	h := must(httpapi.New(exampleBroker(nil), &httpapi.Options{AllowAnonymous: true}))
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /content/{name...}", h.PutUpload)
	mux.Handle("POST /prepare", h.Func(func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
		name := "orders/" + r.FormValue("order_id") + "/final.mp4"
		u, err := b.Queue("orders").Prepare(r.Context(), jobqueue.NewUpload{Key: name, ContentType: "video/mp4", Size: -1})
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(map[string]string{"put_url": h.UploadURL(u, "/content/"+name)})
	}))
	var answer struct {
		PutURL string `json:"put_url"`
	}
	json.Unmarshal(call(mux, "POST", "/prepare?order_id=17", "").Body.Bytes(), &answer)
	path, _, _ := strings.Cut(answer.PutURL, "?")
	fmt.Println(path)
	fmt.Println(call(mux, "PUT", answer.PutURL, "frames", "Content-Type: video/mp4").Code)
	fmt.Println(call(mux, "PUT", path, "frames", "Content-Type: video/mp4").Code)
	// Output:
	// /content/orders/17/final.mp4
	// 204
	// 403
}

// A link to a file that ends by itself.
func ExampleSigner() {
	signer := must(httpapi.NewSigner(nil))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := signer.Check("GET "+r.URL.Path, r.URL.Query()); err != nil {
			http.Error(w, err.Error(), err.(*httpapi.Problem).Status)
			return
		}
		fmt.Fprint(w, "a cat")
	})
	query := signer.Sign("GET /files/cat.jpg", time.Now().Add(24*time.Hour)).Encode()
	late := signer.Sign("GET /files/cat.jpg", time.Now().Add(-time.Second)).Encode()
	for _, url := range []string{"/files/cat.jpg?" + query, "/files/dog.jpg?" + query, "/files/cat.jpg?" + late} {
		w := call(mux, "GET", url, "")
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// 200 a cat
	// 403 bad_signature: the URL's signature is missing or wrong
	// 410 url_expired: the URL is no longer good
}

// A caller whose requests carry headers that were agreed on.
func ExampleHeaderAuth() {
	authenticate := httpapi.HeaderAuth("platform", http.Header{"X-Api-Key": {"a long secret"}, "X-Shop": {"17"}})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Api-Key", "a long secret")
	_, err := authenticate(r)
	fmt.Println(err)
	r.Header.Set("X-Shop", "17")
	fmt.Println(authenticate(r))
	// Output:
	// unauthorized: credentials are missing or wrong
	// platform <nil>
}
