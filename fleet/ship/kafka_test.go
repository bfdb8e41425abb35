package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/sinks/logs"
)

func TestKafkaOptions(t *testing.T) {
	good := KafkaOptions{Brokers: []string{"a:9092"}, Topic: "raytap.{log}"}
	for what, change := range map[string]func(*KafkaOptions){
		"":                       func(*KafkaOptions) {},
		"is not HOST:PORT":       func(o *KafkaOptions) { o.Brokers = []string{"a"} },
		"set kafka_tls":          func(o *KafkaOptions) { o.SASL, o.User, o.PasswordFile = "plain", "u", "f" },
		"kafka_user and":         func(o *KafkaOptions) { o.SASL = "scram-sha-256" },
		"is none of plain":       func(o *KafkaOptions) { o.SASL = "gssapi" },
		"certificates need":      func(o *KafkaOptions) { o.CA = "f" },
		"need each other":        func(o *KafkaOptions) { o.TLS, o.Cert = true, "f" },
		"not the name":           func(o *KafkaOptions) { o.Topic = "ray tap" },
		"a user needs kafka_sas": func(o *KafkaOptions) { o.User = "u" },
	} {
		o := good
		change(&o)
		if err := o.Check(); (err == nil) != (what == "") || err != nil && !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v", what, err)
		}
	}
}

func TestKafkaKey(t *testing.T) {
	for row, want := range map[string]string{
		`{"_path":"conn","uid":"C1","community_id":"1:x="}`:                 "1:x=",
		`{"_path":"dns","uid":"C1"}`:                                        "C1",
		`{"_path":"stats","x":"\"uid\":\"no\""}`:                            "node-1",
		`{"_path":"http","x":",\"community_id\":\"no\",","uid":"C2"}`:       "C2",
		`{"_path":"assets","x":{"steps":[{"uid":"C3"}]},"community_id":""}`: "C3",
	} {
		if got := string(key([]byte(row), "node-1")); got != want {
			t.Errorf("%s: %s, not %s", row, got, want)
		}
	}
}

// broker is a real Kafka of one node, out of Maven's jars.
type broker struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

// newBroker skips the test where there is no Kafka: the folder of its jars is in RAYTAP_KAFKA_LIB, or they come from Maven.
func newBroker(t *testing.T) *broker {
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("needs java, for a real Kafka")
	}
	lib := os.Getenv("RAYTAP_KAFKA_LIB")
	if lib == "" {
		mvn, err := exec.LookPath("mvn")
		if err != nil {
			t.Skip("needs Maven, or RAYTAP_KAFKA_LIB, for a real Kafka")
		}
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		lib = filepath.Join(cache, "raytap-test-kafka", "lib")
		if jars, _ := filepath.Glob(filepath.Join(lib, "kafka_2*.jar")); len(jars) == 0 {
			dir := t.TempDir()
			os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>3.9.1</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency></dependencies></project>`), 0o600)
			c := exec.Command(mvn, "-q", "dependency:copy-dependencies", "-DoutputDirectory="+lib)
			c.Dir = dir
			if out, err := c.CombinedOutput(); err != nil {
				t.Skipf("Maven has no Kafka: %v: %.500s", err, out)
			}
		}
	}
	b := &broker{t: t, dir: t.TempDir(), port: freePort(t)}
	at := "127.0.0.1:" + strconv.Itoa(b.port)
	control := "127.0.0.1:" + strconv.Itoa(freePort(t))
	os.WriteFile(filepath.Join(b.dir, "kraft.properties"), []byte(strings.Join([]string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + control,
		"listeners=PLAINTEXT://" + at + ",CONTROLLER://" + control, "advertised.listeners=PLAINTEXT://" + at,
		"controller.listener.names=CONTROLLER", "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"log.dirs=" + b.dir + "/data", "num.partitions=3", "offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=3", "",
	}, "\n")), 0o600)
	os.Symlink(lib, filepath.Join(b.dir, "lib"))
	id, err := b.java("-Xmx256m", "kafka.tools.StorageTool", "random-uuid").Output()
	if err != nil {
		t.Fatalf("Kafka: %v", err)
	}
	words := strings.Fields(string(id))
	if out, err := b.java("-Xmx256m", "kafka.tools.StorageTool", "format", "-t", words[len(words)-1], "-c", "kraft.properties").CombinedOutput(); err != nil {
		t.Fatalf("Kafka: %v: %s", err, out)
	}
	t.Cleanup(b.kill)
	b.start()
	return b
}

func (b *broker) java(args ...string) *exec.Cmd {
	c := exec.Command("java", append([]string{args[0], "-cp", "lib/*"}, args[1:]...)...)
	c.Dir = b.dir
	return c
}

func (b *broker) start() {
	b.t.Helper()
	log, err := os.Create(filepath.Join(b.dir, "kafka.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.cmd = b.java("-Xmx512m", "kafka.Kafka", "kraft.properties")
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	until(b.t, "Kafka", func() bool {
		time.Sleep(100 * time.Millisecond)
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(b.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9.
func (b *broker) kill() {
	if b.cmd != nil {
		b.cmd.Process.Signal(syscall.SIGKILL)
		b.cmd.Wait()
		b.cmd = nil
	}
}

func (b *broker) options() KafkaOptions {
	return KafkaOptions{Brokers: []string{"127.0.0.1:" + strconv.Itoa(b.port)}}
}

// read is what a consumer gets of topics that reads what is committed: the numbers of rows, each of which may come once.
func (b *broker) read(n map[string]int) map[string]map[uint64]bool {
	b.t.Helper()
	var topics []string
	for log := range n {
		topics = append(topics, "raytap."+log)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.options().Brokers...), kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer cl.Close()
	got := map[string]map[uint64]bool{}
	take := func(ctx context.Context) {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			var row struct {
				Path   string `json:"_path"`
				System string `json:"_system_name"`
				N      uint64 `json:"number"`
			}
			if err := json.Unmarshal(r.Value, &row); err != nil || row.System != "node-1" || "raytap."+row.Path != r.Topic {
				b.t.Errorf("%s: %s (%v)", r.Topic, r.Value, err)
			}
			if len(r.Headers) != 1 || !strings.HasPrefix(string(r.Headers[0].Value), "node-1/"+row.Path+"/") {
				b.t.Errorf("headers %v", r.Headers)
			}
			if got[row.Path] == nil {
				got[row.Path] = map[uint64]bool{}
			}
			if got[row.Path][row.N] {
				b.t.Errorf("row %d of %s came twice", row.N, row.Path)
			}
			got[row.Path][row.N] = true
		})
	}
	until(b.t, "rows", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		take(ctx)
		for log, want := range n {
			if len(got[log]) < want {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // and nothing more
	defer cancel()
	take(ctx)
	return got
}

// TestKafka publishes to a real Kafka that is killed while rows come and that is away for a while, with a shipper that is
// stopped in between, and reads back what is in the files.
func TestKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real Kafka")
	}
	b := newBroker(t)
	dir := t.TempDir()
	w := newSensor(t, dir, formats[0])
	start := func() *Shipper {
		tr, err := NewKafka(b.options(), "node-1")
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, tr, true, "conn")
		s.Start()
		return s
	}
	s := start()
	write := func() {
		for range 4 {
			w.rows(300, "conn", "notice")
			w.pass(time.Second)
		}
		w.pass(time.Hour)
	}
	write()
	until(t, "rows", func() bool { w.live.Tick(w.now); return s.Status().Sent >= 600 })
	for range 3 {
		write()
		b.kill()
		write()
		b.start()
		write()
		sent := s.Status().Sent
		until(t, "more rows", func() bool { w.live.Tick(w.now); return s.Status().Sent > sent })
		s.Close(0) // in the middle of what it does
		s = start()
	}
	w.stop()
	if err := s.Close(3 * time.Minute); err != nil {
		t.Fatal(err)
	}
	got := b.read(map[string]int{"conn": int(w.n["conn"]), "notice": int(w.n["notice"])})
	same(t, "conn", got["conn"], written(t, dir, "conn"))
	same(t, "notice", got["notice"], written(t, dir, "notice"))
	if uint64(len(got["conn"])) != w.n["conn"] {
		t.Errorf("%d rows of %d", len(got["conn"]), w.n["conn"])
	}
	t.Logf("%d and %d rows after 3 kills of the broker and 3 stops of the shipper", len(got["conn"]), len(got["notice"]))
	t.Run("kcat", func(t *testing.T) { b.kcat(t, dir, "conn", "notice") })
}

// kcat compares the rows that another's consumer gets with the log files, member by member.
func (b *broker) kcat(t *testing.T, dir string, names ...string) {
	program, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("no kcat: ", err)
	}
	plain := func(row []byte) string {
		var m map[string]any
		if err := json.Unmarshal(row, &m); err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		maps.DeleteFunc(m, func(key string, _ any) bool { return key[0] == '_' })
		text, _ := json.Marshal(m)
		return string(text)
	}
	for _, log := range names {
		var got, want []string
		until(t, "kcat", func() bool { // the broker's partitions may have no leader yet
			got = nil
			out, err := exec.Command(program, "-b", b.options().Brokers[0], "-C", "-t", "raytap."+log, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed").Output()
			for line := range bytes.Lines(out) {
				got = append(got, plain(line))
			}
			return err == nil && len(got) > 0
		})
		f, err := logs.Open(logs.Options{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		f.Read(log, func(r *logs.Row) { want = append(want, plain(r.AppendJSON(nil, ""))) })
		f.Close()
		slices.Sort(got) // partitions have an order each
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("kcat has %d rows of %s.log, the files have %d", len(got), log, len(want))
		}
	}
}

var errKilled = errors.New("killed")

// TestKafkaInDoubt has the process end between the two phases of a commit, on either side of it.
func TestKafkaInDoubt(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real Kafka")
	}
	b := newBroker(t)
	row := func(n int) []Row {
		return []Row{{"conn", fleet.Place{Generation: 1, Offset: uint64(n)}, []byte(`{"_path":"conn","_system_name":"node-1","number":` + strconv.Itoa(n) + `}`)}}
	}
	transport := func() *kafkaTransport {
		tr, err := NewKafka(b.options(), "node-1")
		if err != nil {
			t.Fatal(err)
		}
		return tr.(*kafkaTransport)
	}
	send := func(tr *kafkaTransport, n int, prepare func(string) error) error {
		var err error
		until(t, "an answer", func() bool {
			_, err = tr.Send(context.Background(), row(n), prepare)
			return err == nil || errors.Is(err, errKilled)
		})
		return err
	}
	var mark string
	keep := func(m string) error { mark = m; return nil }
	// Committed, and not known to be.
	if err := send(transport(), 0, keep); err != nil {
		t.Fatal(err)
	}
	arrived := func(tr *kafkaTransport) (yes bool) {
		until(t, "an answer", func() bool {
			var err error
			yes, err = tr.Arrived(context.Background(), mark)
			if err != nil {
				t.Log(err)
			}
			return err == nil
		})
		return yes
	}
	tr := transport()
	if !arrived(tr) {
		t.Error("what was committed has not arrived")
	}
	// Prepared, and not committed: the transaction is left open by a process that is no more.
	dead := transport()
	if err := send(dead, 1, func(m string) error { mark = m; return errKilled }); err == nil {
		t.Fatal("committed without its place")
	}
	tr2 := transport()
	if arrived(tr2) {
		t.Error("what was not committed has arrived")
	}
	if err := send(tr2, 1, keep); err != nil {
		t.Fatal(err)
	}
	got := b.read(map[string]int{"conn": 2})
	if !got["conn"][0] || !got["conn"][1] {
		t.Errorf("%v", got)
	}
}
