{{- define "rondo.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "rondo.routerImage" -}}
{{- with .Values.router.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rondo.selector" -}}
app.kubernetes.io/name: rondo
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "rondo.labels" -}}
{{ include "rondo.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "rondo.serviceAccount" -}}
{{ .Release.Name }}
{{- end -}}

{{- /* What the operator does in the namespaces that it works in, and nothing more. */ -}}
{{- define "rondo.rules" -}}
- apiGroups: [rondo.dev]
  resources: [pipelines]
  verbs: [get, list, watch]
- apiGroups: [rondo.dev]
  resources: [pipelineruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rondo.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rondo.dev]
  resources: [modelgraphs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rondo.dev]
  resources: [pipelines/status, pipelineruns/status, modeldeployments/status, modelgraphs/status]
  verbs: [update]
# Owner references with blockOwnerDeletion need this where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [rondo.dev]
  resources: [pipelines/finalizers, pipelineruns/finalizers, modeldeployments/finalizers, modelgraphs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Deployments are deleted, as all below, with the router that has no graph left.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, delete]
# The items of a fan-out, and what they gave; the plans of routers, which need `get` and `watch` themselves.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Whether the Services that graphs point at have endpoints.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# What a router consists of.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Why a pod does not start often stands only in Events.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
