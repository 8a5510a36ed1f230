// policies enforces NetworkPolicies on the one node of the test cluster: whatever policies, namespaces and pods say
// becomes one table of the machine's packet filter (nftables). It must know nothing of ckrv: what the tests prove by it
// is what the policies say, not how they came to be.
//
// It is two programs. Started with --kubeconfig it is the agent that watches and writes the rules; called by the container
// runtime (CNI_COMMAND in the environment) it is a plugin that has a new pod wait for them.
//
// What it does not do: addresses of version 6 (pods have none), and policies of pods on the node's own network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// How long a pod that the runtime knows may be unknown here.
const known = 10 * time.Second

func main() {
	if command := os.Getenv("CNI_COMMAND"); command != "" {
		if err := plugin(command); err != nil {
			refuse(err)
		}
		return
	}
	kubeconfig := flag.String("kubeconfig", "", "file that says where the API server is")
	socket := flag.String("socket", "", "where the plugin finds the agent")
	flag.Parse()
	context, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(context, *kubeconfig, *socket); err != nil {
		log.Fatal(err)
	}
}

// Agent keeps the table true. Rules stay when it ends, as a real one's do.
type Agent struct {
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister

	mutex sync.Mutex
	// Addresses that the API server may not know yet, by the pod's UID.
	arrived map[types.UID]string
	written string
}

func run(context context.Context, kubeconfig, socket string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	agent := &Agent{pods: pods.Lister(), namespaces: namespaces.Lister(), policies: policies.Lister(), arrived: map[types.UID]string{}}
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(pokes(changed)); err != nil {
			return err
		}
	}
	factory.Start(context.Done())
	factory.WaitForCacheSync(context.Done())
	if err := agent.write(); err != nil {
		return err
	}
	listener, err := agent.listen(socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	for {
		select {
		case <-context.Done():
			return nil
		case <-changed:
		}
		if err := agent.write(); err != nil {
			log.Print(err)
		}
	}
}

// pokes: many changes at once are one.
func pokes(changed chan<- struct{}) cache.ResourceEventHandler {
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { poke() },
		UpdateFunc: func(any, any) { poke() },
		DeleteFunc: func(any) { poke() },
	}
}

func trim(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

func (a *Agent) listen(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	server := rpc.NewServer()
	if err := server.Register(a); err != nil {
		return nil, err
	}
	go server.Accept(listener)
	return listener, nil
}

// Admit returns when the rules of a new pod stand.
func (a *Agent) Admit(arrival Arrival, _ *struct{}) error {
	var uid types.UID
	seen := func(context.Context) (bool, error) {
		pod, err := a.pods.Pods(arrival.Namespace).Get(arrival.Name)
		if err != nil || (arrival.UID != "" && string(pod.UID) != arrival.UID) {
			return false, nil
		}
		uid = pod.UID
		return true, nil
	}
	if err := wait.PollUntilContextTimeout(context.Background(), 10*time.Millisecond, known, true, seen); err != nil {
		return fmt.Errorf("the API server does not know of pod %s/%s: %w", arrival.Namespace, arrival.Name, err)
	}
	a.mutex.Lock()
	a.arrived[uid] = arrival.Address
	a.mutex.Unlock()
	return a.write()
}

// write replaces the table where it would not be the same.
func (a *Agent) write() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	view, err := a.view()
	if err != nil {
		return err
	}
	text := view.render()
	if text == a.written {
		return nil
	}
	command := exec.Command("nft", "--file", "-")
	command.Stdin = strings.NewReader(text)
	if told, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s\n%s", err, told, text)
	}
	a.written = text
	return nil
}

func (a *Agent) view() (*view, error) {
	pods, err := a.pods.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	namespaces, err := a.namespaces.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	policies, err := a.policies.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	now := &view{policies: policies, namespaces: map[string]labels.Set{}}
	for _, namespace := range namespaces {
		now.namespaces[namespace.Name] = namespace.Labels
	}
	arrived := map[types.UID]string{}
	for _, one := range pods {
		address := one.Status.PodIP
		if told := a.arrived[one.UID]; told != "" {
			address, arrived[one.UID] = told, told
		}
		// The address of a pod that is over may be another's by now.
		isOver := one.Status.Phase == core.PodSucceeded || one.Status.Phase == core.PodFailed
		if address == "" || isOver || one.Spec.HostNetwork {
			continue
		}
		var ports []core.ContainerPort
		for _, container := range one.Spec.Containers {
			ports = append(ports, container.Ports...)
		}
		now.pods = append(now.pods, pod{one.Namespace, one.Labels, address, ports})
	}
	a.arrived = arrived
	return now, nil
}
