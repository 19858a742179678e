package statuspoll_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// A platform hands an order to somebody's automation and polls for the result; the waits are short for the sake of the example. Here the automation does
// the order at once.
func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("GET /orders/{order_id}/status", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"status": "completed", "output_type": "text", "result_text": "%s is done"}`, r.PathValue("order_id"))
	})
	automation := httptest.NewTLSServer(mux)
	defer automation.Close()

	// The platform. Its broker must take results as large as answers may be.
	ctx, stop := context.WithCancel(context.Background())
	broker := must(jobqueue.New(memstore.New(nil), &jobqueue.Options{MaxResult: statuspoll.Reading().MaxBody}))
	defer broker.Shutdown(context.Background())
	poller := must(statuspoll.NewPoller(broker, &statuspoll.PollerOptions{
		WebhookURL: automation.URL + "/orders",
		StatusURL:  automation.URL + "/orders/{order_id}/status",
		Header:     http.Header{"X-Api-Key": {"s3cret"}},
		Outbox:     []string{"events"},
		FirstCheck: 10 * time.Millisecond,
		Client:     automation.Client(), // which knows the certificate
	}))
	polled := make(chan error)
	go func() { polled <- poller.Run(ctx) }()

	must(poller.Start(ctx, statuspoll.Order{ID: "o-17", ETA: "under_1_hr", Inputs: json.RawMessage(`{"name": "Ada"}`)}))

	// Whoever is to be told waits for events.
	d := must(broker.Queue("events").Receive(ctx, nil))
	event := must(statuspoll.ReadEvent(ctx, broker, d))
	fmt.Println(event.Type, event.OrderID)
	fmt.Println(string(event.Result))
	d.Ack(ctx)

	stop()
	fmt.Println(<-polled)
	// Output:
	// order.completed o-17
	// {"status": "completed", "output_type": "text", "result_text": "o-17 is done"}
	// <nil>
}

// An automation: a webhook that stores the order before it answers, workers that do it, and the endpoint that is polled.
func ExampleEndpoint() {
	broker := must(jobqueue.New(memstore.New(nil), nil))
	defer broker.Shutdown(context.Background())
	h := must(httpapi.New(broker, &httpapi.Options{
		Authenticate: httpapi.HeaderAuth("platform", http.Header{"X-Api-Key": {"s3cret"}}),
	}))
	mux := http.NewServeMux()
	orders := jobqueue.QueueName{Account: "platform", Name: "orders"}
	mux.HandleFunc("POST /orders", h.Func(func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
		var order struct {
			ID     string          `json:"order_id"`
			Inputs json.RawMessage `json:"inputs"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&order); err != nil || order.ID == "" {
			return &httpapi.Problem{Status: http.StatusBadRequest, Code: "invalid_request"}
		}
		_, err := b.Queue(orders.Name).Enqueue(r.Context(), jobqueue.NewJob{Key: order.ID, Payload: order.Inputs})
		if err == nil {
			w.WriteHeader(http.StatusAccepted)
		}
		return err
	}))
	mux.Handle("GET /orders/{order_id}/status", h.Func(statuspoll.Endpoint(orders)))

	call := func(method, path, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("X-Api-Key", "s3cret")
		mux.ServeHTTP(w, r)
		fmt.Println(strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body)))
	}
	call("POST", "/orders", `{"order_id": "o-17", "inputs": {"name": "Ada"}}`)
	call("GET", "/orders/o-17/status", "")

	ctx := context.Background()
	d := must(broker.In("platform").Queue("orders").Receive(ctx, nil))
	d.Progress(ctx, 0.45, "rendering")
	call("GET", "/orders/o-17/status", "")

	if err := statuspoll.Complete(ctx, d, &statuspoll.Answer{OutputType: "url", ResultURL: "https://files.example/o-17.pdf"}); err != nil {
		log.Fatal(err)
	}
	call("GET", "/orders/o-17/status", "")
	// Output:
	// 202
	// 200 {"status":"processing"}
	// 200 {"status":"processing","progress":"45%"}
	// 200 {"status":"completed","output_type":"url","result_url":"https://files.example/o-17.pdf"}
}

// What is wrong with an answer is told by the rule it breaks.
func ExampleRules_Read() {
	rules := statuspoll.Reading()
	for _, body := range []string{
		`{"status": "processing", "progress": 0.45}`,
		`{"status": "processing", "progress": "120%"}`,
		`{"status": "completed", "output_type": "file", "result_text": "hello"}`,
		`{"status": "failed"}`,
	} {
		a, err := rules.Read([]byte(body))
		var broken *statuspoll.RuleError
		switch {
		case errors.As(err, &broken):
			fmt.Printf("%s: %v\n", broken.Rule, broken)
		case a.Progress != nil:
			fmt.Println(a.Status, *a.Progress)
		default:
			fmt.Println(a.Status, a.ErrorMessage, a.Problem)
		}
	}
	// Output:
	// processing 0.45
	// progress: progress must be a number or a text such as "45%", from 0 to 100 %
	// carrier: result_text does not go with this output_type, for which there must be one of file_base64, files, result_url
	// failed The order failed. No reason was given. error_message was missing
}

// Whoever writes answers by other means than Complete checks them first.
func ExampleRules_Check() {
	rules := statuspoll.Writing()
	fmt.Println(rules.Check(&statuspoll.Answer{Status: statuspoll.Completed, OutputType: "url", ResultURL: "http://files.example/o-17.pdf"}))
	fmt.Println(rules.Check(&statuspoll.Answer{Status: statuspoll.Failed, ErrorMessage: "Unable to process the provided input"}))
	// Output:
	// result_url must be an absolute URL with https
	// <nil>
}

func ExampleParseTemplate() {
	template := must(statuspoll.ParseTemplate("https://automation.example/orders/{order_id}/status", false))
	fmt.Println(template.URL("o-17"))
	fmt.Println(template.URL("../admin"))
	_, err := statuspoll.ParseTemplate("https://automation.example/status?order={order_id}", false)
	fmt.Println(err)
	// Output:
	// https://automation.example/orders/o-17/status
	// https://automation.example/orders/%2E%2E%2Fadmin/status
	// status URL: {order_id} must be in its path
}

// What a platform shows of an order: the status marshals as it is.
func ExamplePoller_Order() {
	broker := must(jobqueue.New(memstore.New(nil), &jobqueue.Options{MaxResult: statuspoll.Reading().MaxBody}))
	defer broker.Shutdown(context.Background())
	poller := must(statuspoll.NewPoller(broker, &statuspoll.PollerOptions{
		WebhookURL: "https://automation.example/orders",
		StatusURL:  "https://automation.example/orders/{order_id}/status",
	}))
	ctx := context.Background()
	job := must(poller.Start(ctx, statuspoll.Order{ID: "o-17", ETA: "under_2_min"}))
	fmt.Println(string(must(json.Marshal(must(poller.Order(ctx, "o-17"))))))

	broker.Cancel(ctx, job.ID)
	fmt.Println(string(must(json.Marshal(must(poller.Order(ctx, "o-17"))))))
	// Output:
	// {"order_id":"o-17","status":"processing","checks":0}
	// {"order_id":"o-17","status":"failed","code":"canceled","error_message":"The order was canceled.","checks":0}
}
