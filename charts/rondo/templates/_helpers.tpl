{{- define "rondo.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
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
  resources: [pipelines/status, pipelineruns/status, modeldeployments/status]
  verbs: [update]
# Owner references with blockOwnerDeletion need this where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [rondo.dev]
  resources: [pipelines/finalizers, pipelineruns/finalizers, modeldeployments/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, delete]
# The items of a fan-out, and what they gave.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
# Why a pod does not start often stands only in Events.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
