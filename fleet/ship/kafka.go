package ship

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/raytap/raytap/fleet"
)

// Kafka is the kind of a transport to Apache Kafka, and to what speaks its protocol.
const Kafka = "kafka"

const (
	// Bytes of a batch of records, as brokers take them (message.max.bytes).
	kafkaBatch = 1048588
	// A transaction that is not ended by then is aborted by the broker.
	kafkaTransaction = time.Minute
	// How long a broker may be silent about a batch before it is said.
	kafkaPatience = 20 * time.Second
	// Header of a record with the id of its row.
	kafkaID = "raytap-id"
)

// KafkaOptions say where rows go, and how the sensor shows who it is.
type KafkaOptions struct {
	Brokers []string // HOST:PORT
	// Topic is the topic of a row; {log} in it stands for its log. "": raytap.{log}.
	Topic string
	// Idempotent does without transactions, for services that have none. Batches that were on their way when the process was
	// killed may then come twice, under the same raytap-id.
	Idempotent bool

	SASL         string // "", plain, scram-sha-256, scram-sha-512
	User         string
	PasswordFile string

	TLS       bool
	CA        string // a file of certificates; "": those of the system
	Cert, Key string // files with a certificate to show, and its key
}

// Check reports what is wrong with the options, without a look at files.
func (o *KafkaOptions) Check() error {
	if len(o.Brokers) == 0 {
		return nil
	}
	for _, b := range o.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not HOST:PORT", b)
		}
		host, _, _ := net.SplitHostPort(b)
		if strings.EqualFold(o.SASL, "plain") && !o.TLS && !fleet.Loopback(host) {
			return errors.New("SASL plain sends the password as it is: set kafka_tls")
		}
	}
	switch o.SASL {
	case "":
		if o.User != "" || o.PasswordFile != "" {
			return errors.New("a user needs kafka_sasl: plain, scram-sha-256, scram-sha-512")
		}
	case "plain", "scram-sha-256", "scram-sha-512":
		if o.User == "" || o.PasswordFile == "" {
			return errors.New("kafka_sasl needs kafka_user and kafka_password_file")
		}
	default:
		return fmt.Errorf("%q is none of plain, scram-sha-256, scram-sha-512", o.SASL)
	}
	switch {
	case !o.TLS && (o.CA != "" || o.Cert != "" || o.Key != ""):
		return errors.New("certificates need kafka_tls")
	case (o.Cert == "") != (o.Key == ""):
		return errors.New("kafka_cert and kafka_key need each other")
	}
	topic := strings.ReplaceAll(o.Topic, "{log}", "conn")
	if topic != "" && strings.Trim(strings.ToLower(topic), "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return fmt.Errorf("%q is not the name of a topic: letters, digits, dots, hyphens and underscores, and {log}", o.Topic)
	}
	return nil
}

// options are those of a client.
func (o *KafkaOptions) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(o.Brokers...), kgo.ClientID("raytap"), kgo.DialTimeout(5 * time.Second), kgo.DisableClientMetrics()}
	if o.TLS {
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if o.CA != "" {
			b, err := os.ReadFile(o.CA)
			if err != nil {
				return nil, err
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(b) {
				return nil, fmt.Errorf("%s has no certificates", o.CA)
			}
		}
		if o.Cert != "" {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
			if err != nil {
				return nil, err
			}
			c.Certificates = []tls.Certificate{pair}
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	if o.SASL != "" {
		b, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return nil, err
		}
		password := strings.TrimRight(string(b), "\r\n")
		switch o.SASL {
		case "plain":
			opts = append(opts, kgo.SASL(plain.Auth{User: o.User, Pass: password}.AsMechanism()))
		case "scram-sha-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: password}.AsSha256Mechanism()))
		case "scram-sha-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: password}.AsSha512Mechanism()))
		}
	}
	return opts, nil
}

// kafkaTransport produces rows in transactions, one for each batch. The journal of places is the other party of a commit in
// two phases: the batch is prepared there before the transaction is committed, with where one of its records is; whether a
// transaction was committed of which that is not known is read off that place, once its producer has been fenced.
type kafkaTransport struct {
	opt    KafkaOptions
	sensor string
	cl     *kgo.Client
	// Rows that are too large for the broker, of the batch at hand.
	large map[fleet.Place]string
	// Of a producer without transactions: records of the batch at hand that are on their way or have arrived.
	batch fleet.Place
	log   string
	acks  []error // by row; errWaiting: on its way
}

var errWaiting = errors.New("no answer yet")

// NewKafka makes a transport to Kafka. Brokers need not answer yet.
func NewKafka(opt KafkaOptions, sensor string) (Transport, error) {
	if len(opt.Brokers) == 0 {
		return nil, errors.New("ship: no broker is named")
	}
	if err := opt.Check(); err != nil {
		return nil, fmt.Errorf("ship: %w", err)
	}
	if opt.Topic == "" {
		opt.Topic = "raytap.{log}"
	}
	if _, err := opt.options(); err != nil { // files that cannot be read are told now
		return nil, fmt.Errorf("ship: %w", err)
	}
	return &kafkaTransport{opt: opt, sensor: sensor, large: map[fleet.Place]string{}}, nil
}

func (t *kafkaTransport) Kind() string { return Kafka }

// client returns the producer, and makes one if there is none. A new one fences its predecessor, whose open transaction is
// aborted, or completed if its commit had begun.
func (t *kafkaTransport) client(ctx context.Context) (*kgo.Client, error) {
	if t.cl != nil {
		return t.cl, nil
	}
	opts, err := t.opt.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(kafkaBatch), kgo.MaxBufferedRecords(2*maxRows), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.SnappyCompression(), kgo.NoCompression()), kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	if !t.opt.Idempotent {
		opts = append(opts, kgo.TransactionalID("raytap-"+fleet.Token(t.sensor)), kgo.TransactionTimeout(kafkaTransaction))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	if !t.opt.Idempotent {
		wait, cancel := context.WithTimeout(ctx, kafkaPatience)
		defer cancel()
		if _, _, err := cl.ProducerID(wait); err != nil {
			cl.Close()
			return nil, plainly(wait, err)
		}
	}
	t.cl = cl
	return cl, nil
}

// plainly names a time-out for what it is.
func plainly(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no broker has answered for %v", kafkaPatience)
	}
	return err
}

// drop gives up a producer of which it is not known what it did.
func (t *kafkaTransport) drop() {
	if t.cl != nil {
		t.cl.Close()
		t.cl = nil
	}
}

func (t *kafkaTransport) record(r *Row) *kgo.Record {
	return &kgo.Record{
		Topic: strings.ReplaceAll(t.opt.Topic, "{log}", r.Log), Key: key(r.Data, t.sensor), Value: r.Data,
		Headers: []kgo.RecordHeader{{Key: kafkaID, Value: []byte(fleet.MessageID(t.sensor, r.Log, r.Place))}},
	}
}

// key is the Community ID of a row, so that all rows of a connection are in one partition; of one without its uid, or else
// the sensor.
func key(row []byte, sensor string) []byte {
	for _, member := range [...]string{`"community_id":"`, `"uid":"`} {
		// Within a string its quotes would be escaped.
		if i := bytes.Index(row, []byte(member)); i > 0 && (row[i-1] == ',' || row[i-1] == '{') {
			value := row[i+len(member):]
			if end := bytes.IndexByte(value, '"'); end > 0 {
				return value[:end]
			}
		}
	}
	return []byte(sensor)
}

func (t *kafkaTransport) Send(ctx context.Context, rows []Row, prepare func(string) error) (Result, error) {
	cl, err := t.client(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("ship: %w", err)
	}
	if t.opt.Idempotent {
		return t.produce(ctx, cl, rows)
	}
	for {
		res, again, err := t.transact(ctx, cl, rows, prepare)
		if err != nil {
			t.drop()
			return Result{}, fmt.Errorf("ship: %w", err)
		}
		if !again {
			clear(t.large)
			return res, nil
		}
	}
}

// transact produces rows in one transaction. again: the broker does not take one of them, and nothing was committed.
func (t *kafkaTransport) transact(ctx context.Context, cl *kgo.Client, rows []Row, prepare func(string) error) (res Result, again bool, err error) {
	if err := cl.BeginTransaction(); err != nil {
		return res, false, err
	}
	wait, cancel := context.WithTimeout(ctx, kafkaPatience)
	defer cancel()
	var records []*kgo.Record
	failed := make([]error, len(rows)) // each written by one promise, and read after Flush
	for i := range rows {
		if why, ok := t.large[rows[i].Place]; ok {
			res.Refused++
			res.Why = why
			continue
		}
		r := t.record(&rows[i])
		records = append(records, r)
		cl.Produce(wait, r, func(_ *kgo.Record, err error) { failed[i] = err })
	}
	if err := cl.Flush(wait); err != nil {
		return res, false, plainly(wait, err)
	}
	for i, err := range failed {
		if tooLarge(err) {
			t.large[rows[i].Place] = fmt.Sprintf("a row of %s.log has %d bytes, more than the broker takes", rows[i].Log, len(rows[i].Data))
			again = true
		} else if err != nil {
			return res, false, plainly(wait, err)
		}
	}
	if again {
		return res, true, cl.EndTransaction(wait, kgo.TryAbort)
	}
	if len(records) == 0 {
		return res, false, cl.EndTransaction(wait, kgo.TryAbort)
	}
	last := records[len(records)-1]
	mark, err := json.Marshal(kafkaMark{last.Topic, last.Partition, last.Offset})
	if err != nil {
		return res, false, err
	}
	if err := prepare(string(mark)); err != nil {
		return res, false, err
	}
	if err := cl.EndTransaction(wait, kgo.TryCommit); err != nil {
		return res, false, plainly(wait, err)
	}
	return res, false, nil
}

func tooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}

// kafkaMark is where a record of a transaction is.
type kafkaMark struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Arrived reads whether the record of a transaction is among what was committed.
func (t *kafkaTransport) Arrived(ctx context.Context, mark string) (bool, error) {
	var m kafkaMark
	if err := json.Unmarshal([]byte(mark), &m); err != nil {
		return false, nil // of a transport that was another
	}
	// The transaction has an end when its producer is fenced by the next.
	if _, err := t.client(ctx); err != nil {
		return false, fmt.Errorf("ship: %w", err)
	}
	opts, err := t.opt.options()
	if err != nil {
		return false, fmt.Errorf("ship: %w", err)
	}
	opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxBytes(kafkaBatch),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{m.Topic: {m.Partition: kgo.NewOffset().At(m.Offset)}}))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return false, fmt.Errorf("ship: %w", err)
	}
	defer cl.Close()
	wait, cancel := context.WithTimeout(ctx, kafkaPatience)
	defer cancel()
	for {
		fetches := cl.PollFetches(wait)
		if wait.Err() != nil {
			return false, fmt.Errorf("ship: whether the last batch was committed is not known yet: %w", plainly(wait, wait.Err()))
		}
		var known, arrived bool
		fetches.EachRecord(func(r *kgo.Record) {
			if known || r.Offset < m.Offset {
				return
			}
			known, arrived = true, r.Offset == m.Offset && !r.Attrs.IsControl()
		})
		if known {
			return arrived, nil
		}
		for _, e := range fetches.Errors() {
			if !kerr.IsRetriable(e.Err) {
				return false, fmt.Errorf("ship: %w", e.Err)
			}
		}
	}
}

// produce is Send without transactions. The client itself tries again, with the numbers by which a broker knows a batch, so
// that nothing comes twice as long as it lives.
func (t *kafkaTransport) produce(ctx context.Context, cl *kgo.Client, rows []Row) (res Result, err error) {
	if first := rows[0]; t.acks == nil || t.batch != first.Place || t.log != first.Log {
		t.batch, t.log, t.acks = first.Place, first.Log, make([]error, len(rows))
		for i := range t.acks {
			t.acks[i] = errWaiting
		}
		acks := t.acks
		for i := range rows {
			// The client keeps the record for as long as it takes; the batch is not changed before that.
			cl.Produce(context.Background(), t.record(&rows[i]), func(_ *kgo.Record, err error) { acks[i] = err })
		}
	}
	wait, cancel := context.WithTimeout(ctx, kafkaPatience)
	defer cancel()
	if err := cl.Flush(wait); err != nil {
		return res, fmt.Errorf("ship: %w", plainly(wait, err))
	}
	var failed error
	for i, err := range t.acks {
		switch {
		case err == nil:
		case tooLarge(err):
			res.Refused++
			res.Why = fmt.Sprintf("a row of %s.log has %d bytes, more than the broker takes", rows[i].Log, len(rows[i].Data))
		default:
			failed = err
			t.acks[i] = errWaiting
			acks := t.acks
			cl.Produce(context.Background(), t.record(&rows[i]), func(_ *kgo.Record, err error) { acks[i] = err })
		}
	}
	if failed != nil {
		return Result{}, fmt.Errorf("ship: %w", failed)
	}
	t.acks = nil
	return res, nil
}

// Beat does nothing: a hub that asks how a sensor does is at NATS.
func (t *kafkaTransport) Beat(fleet.Status) {}

func (t *kafkaTransport) Close() { t.drop() }
